package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

type message struct {
	ID     int64     `json:"id"`
	Room   string    `json:"room"`
	Name   string    `json:"name"`
	Text   string    `json:"text"`
	SentAt time.Time `json:"sent_at"`
}

var client = &http.Client{Timeout: 15 * time.Second}

// call returns the answer's JSON, and an error with the server's words when it refused.
func call(o options, method, path string, body interface{}) ([]byte, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, o.server+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, 8<<20))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		var refusal struct{ Error string }
		_ = json.Unmarshal(content, &refusal)
		return nil, fmt.Errorf("server answers %d: %s", answer.StatusCode, first(refusal.Error, "no reason given"))
	}
	return bytes.TrimSpace(content), nil
}

func ping(o options) error {
	begun := time.Now()
	content, err := call(o, "GET", "/api/ping", nil)
	if err != nil {
		return err
	}
	if o.json {
		fmt.Println(string(content))
		return nil
	}
	var said struct {
		Version, Instance, Site string
		ClusterID               string `json:"cluster_id"`
	}
	if err := json.Unmarshal(content, &said); err != nil {
		return err
	}
	fmt.Printf("lan-chat %s, cluster %s, instance %s, %.1f ms\n",
		said.Version, said.ClusterID, said.Instance, float64(time.Since(begun).Microseconds())/1000)
	return nil
}

func people(o options) error {
	content, err := call(o, "GET", "/api/people", nil)
	if err != nil {
		return err
	}
	if o.json {
		fmt.Println(string(content))
		return nil
	}
	var said struct {
		People []struct {
			Name, Room, Via string
			Since           time.Time
		}
	}
	if err := json.Unmarshal(content, &said); err != nil {
		return err
	}
	for _, p := range said.People {
		fmt.Printf("%-24s #%-16s %-10s since %s\n", p.Name, p.Room, p.Via, p.Since.Local().Format("15:04"))
	}
	return nil
}

func rooms(o options) error {
	content, err := call(o, "GET", "/api/rooms", nil)
	if err != nil {
		return err
	}
	if o.json {
		fmt.Println(string(content))
		return nil
	}
	var said struct{ Rooms []struct{ Name string } }
	if err := json.Unmarshal(content, &said); err != nil {
		return err
	}
	for _, r := range said.Rooms {
		fmt.Println("#" + r.Name)
	}
	return nil
}

func send(o options) error {
	text := strings.Join(o.words, " ")
	if text == "-" {
		content, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		text = string(content)
	}
	if strings.TrimSpace(text) == "" {
		return errors.New("nothing to say; give the text as words or - for standard input")
	}
	content, err := call(o, "POST", "/api/rooms/"+url.PathEscape(o.room)+"/messages",
		map[string]string{"name": o.name, "text": text})
	if err == nil && o.json {
		fmt.Println(string(content))
	}
	return err
}

// tail follows a room. It comes back after a lost connection and asks for what it missed.
func tail(o options) error {
	var last int64
	skip := true
	for {
		err := follow(o, &last, &skip)
		if skip {
			return err
		}
		fmt.Fprintln(os.Stderr, "connection lost, trying again:", err)
		time.Sleep(time.Second)
	}
}

func follow(o options, last *int64, skip *bool) error {
	query := url.Values{"room": {o.room}, "name": {o.name}}
	if *last > 0 {
		query.Set("after", fmt.Sprint(*last))
	}
	conn, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(o.server, "http")+"/ws?"+query.Encode(), nil)
	if err != nil {
		if answer != nil {
			return fmt.Errorf("server answers %d", answer.StatusCode)
		}
		return err
	}
	defer conn.Close()
	for {
		var frame struct {
			Type     string
			Text     string
			Message  message
			Messages []message
		}
		if err := conn.ReadJSON(&frame); err != nil {
			return err
		}
		switch frame.Type {
		case "history":
			if *skip && len(frame.Messages) > o.limit {
				frame.Messages = frame.Messages[len(frame.Messages)-o.limit:]
			}
			*skip = false
			for _, m := range frame.Messages {
				show(o, m, last)
			}
		case "message":
			show(o, frame.Message, last)
		case "draining":
			return errors.New("server is about to end")
		case "error":
			fmt.Fprintln(os.Stderr, "error:", frame.Text)
		}
	}
}

func show(o options, m message, last *int64) {
	if m.ID > *last {
		*last = m.ID
	}
	if o.json {
		encoded, err := json.Marshal(m)
		if err == nil {
			fmt.Println(string(encoded))
		}
		return
	}
	fmt.Printf("%s <%s> %s\n", m.SentAt.Local().Format("15:04:05"), m.Name, m.Text)
}
