package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"lanchat/version"
)

const (
	writeWait = 10 * time.Second
	pingEvery = 30 * time.Second
	pongWait  = 75 * time.Second
	// A page that reconnects asks for what it missed; it drops what it has already.
	replayLimit = 200
)

var upgrader = websocket.Upgrader{ReadBufferSize: 2048, WriteBufferSize: 4096}

// websocket serves GET /ws?room=…&name=…&after=…: a hello, the history, and then what is said as it is said.
func (g *gateway) websocket(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	name, room := query.Get("name"), query.Get("room")
	switch {
	case !validName(name):
		fail(w, http.StatusBadRequest, "name: "+nameRule)
		return
	case !validRoom(room):
		fail(w, http.StatusBadRequest, "room: "+roomRule)
		return
	}
	conn, err := upgrader.Upgrade(w, r, http.Header{"X-Lan-Chat-Version": {version.Version}})
	if err != nil {
		return
	}
	defer conn.Close()
	s := newSession(viaWebSocket, name, room)
	g.hub.add(s)
	defer g.hub.remove(s)
	go g.listen(conn, s)
	g.talk(conn, s, number(r, "after", 0))
}

// talk is the only writer of a connection.
func (g *gateway) talk(conn *websocket.Conn, s *session, after int64) {
	name, room := s.who()
	hello := g.identity()
	hello["type"], hello["version"], hello["name"], hello["room"] = "hello", version.Version, name, room
	if write(conn, hello) != nil {
		return
	}
	sent, err := g.replay(conn, room, after)
	if err != nil {
		return
	}
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case e := <-s.out:
			if e.Message != nil && sent[e.Message.ID] {
				continue
			}
			if write(conn, e) != nil {
				return
			}
		case <-ticker.C:
			if conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait)) != nil {
				return
			}
		case <-s.gone:
			goodbye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
			_ = conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
			return
		}
	}
}

// replay sends what was said before and returns the ids, for they may come a second time.
func (g *gateway) replay(conn *websocket.Conn, room string, after int64) (map[int64]bool, error) {
	limit := defaultLimit
	if after > 0 {
		limit = replayLimit
	}
	limited, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	found, err := g.store.history(limited, room, 0, after, limit)
	if err != nil {
		g.log.Warn("history can't be read", "room", room, "error", err)
		return nil, write(conn, event{Type: "error", Text: "history can't be read just now"})
	}
	sent := map[int64]bool{}
	for _, m := range found {
		sent[m.ID] = true
	}
	return sent, write(conn, map[string]interface{}{"type": "history", "messages": found})
}

func write(conn *websocket.Conn, value interface{}) error {
	_ = conn.SetWriteDeadline(time.Now().Add(writeWait))
	return conn.WriteJSON(value)
}

// listen reads what a person sends until the connection ends.
func (g *gateway) listen(conn *websocket.Conn, s *session) {
	defer s.end()
	conn.SetReadLimit(maxBody)
	alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(pongWait)) }
	conn.SetPongHandler(alive)
	for {
		_ = alive("")
		_, raw, err := conn.ReadMessage()
		if err != nil {
			return
		}
		var frame struct{ Type, Text string }
		if json.Unmarshal(raw, &frame) != nil {
			s.tell(event{Type: "error", Text: "that is not JSON"})
			continue
		}
		switch frame.Type {
		case "ping":
			s.tell(event{Type: "pong", Version: version.Version})
		case "say":
			g.say(s, frame.Text)
		default:
			s.tell(event{Type: "error", Text: "unknown type; known are say and ping"})
		}
	}
}

// say posts what a session's person wrote and tells only them when it fails.
func (g *gateway) say(s *session, text string) {
	name, room := s.who()
	_, err := g.post(context.Background(), s.via, room, name, text)
	if err == nil {
		return
	}
	why := "message was not stored; try again"
	if bad, ok := err.(badInput); ok {
		why = bad.Error()
	} else {
		g.log.Error("message was not stored", "via", s.via, "error", err)
	}
	s.tell(event{Type: "error", Text: why})
}
