package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"lanchat/jsonlog"
	"lanchat/serve"
	"lanchat/version"
)

const heartbeatEvery = 5 * time.Second

// person is somebody who is connected, as the directory knows them.
type person struct {
	Name  string    `json:"name"`
	Room  string    `json:"room"`
	Via   string    `json:"via"`
	Since time.Time `json:"since"`
}

// presence tells the directory who is connected here, and asks it who is connected anywhere.
type presence struct {
	address string
	log     *jsonlog.Logger
	hub     *hub
	client  *http.Client
}

func newPresence(address string, log *jsonlog.Logger, h *hub) *presence {
	return &presence{address: address, log: log, hub: h, client: &http.Client{Timeout: 3 * time.Second}}
}

// run sends heartbeats, and one soon after somebody comes or goes, until ctx ends.
func (p *presence) run(ctx context.Context) {
	failed := false
	for ctx.Err() == nil {
		err := p.beat(ctx, p.here())
		if (err != nil) != failed {
			failed = err != nil
			if failed {
				p.log.Warn("directory does not take heartbeats", "error", err)
			} else {
				p.log.Info("directory takes heartbeats again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(heartbeatEvery):
		case <-p.hub.changed:
			time.Sleep(200 * time.Millisecond)
		}
	}
}

func (p *presence) here() []person {
	people := []person{}
	for _, s := range p.hub.all() {
		name, room := s.who()
		if name != "" {
			people = append(people, person{Name: name, Room: room, Via: s.via, Since: s.since})
		}
	}
	return people
}

// leave takes everybody of this gateway off the list.
func (p *presence) leave() {
	limited, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = p.beat(limited, []person{})
}

func (p *presence) beat(ctx context.Context, people []person) error {
	body, err := json.Marshal(map[string]interface{}{
		"gateway": serve.Instance(), "version": version.Version, "people": people,
	})
	if err != nil {
		return err
	}
	return p.call(ctx, http.MethodPost, "/v1/presence", body, nil)
}

// people returns the directory's answer as it is.
func (p *presence) people(ctx context.Context) (map[string]interface{}, error) {
	answer := map[string]interface{}{}
	return answer, p.call(ctx, http.MethodGet, "/v1/people", nil, &answer)
}

func (p *presence) check(ctx context.Context) error {
	return p.call(ctx, http.MethodGet, "/healthz", nil, nil)
}

func (p *presence) call(ctx context.Context, method, path string, body []byte, into interface{}) error {
	request, err := http.NewRequestWithContext(ctx, method, p.address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("directory answers %d", answer.StatusCode)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(content, into)
}
