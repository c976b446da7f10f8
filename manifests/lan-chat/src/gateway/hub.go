package main

import (
	"sync"
	"time"

	"lanchat/jsonlog"
)

const (
	viaHTTP      = "http"
	viaWebSocket = "websocket"
	viaTCP       = "tcp"
	// Somebody who reads this much slower than others write is let go.
	backlog = 512
)

// event is something to tell a person: a message, an answer or an announcement.
type event struct {
	Type    string   `json:"type"`
	Message *message `json:"message,omitempty"`
	Text    string   `json:"text,omitempty"`
	Version string   `json:"version,omitempty"`
}

// session is one person on one connection.
type session struct {
	via   string
	since time.Time
	out   chan event
	gone  chan struct{}
	once  sync.Once

	mu   sync.Mutex
	name string
	room string
}

func newSession(via, name, room string) *session {
	return &session{
		via: via, name: name, room: room, since: time.Now().UTC(),
		out: make(chan event, backlog), gone: make(chan struct{}),
	}
}

func (s *session) who() (name, room string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name, s.room
}

func (s *session) tell(e event) {
	select {
	case s.out <- e:
	case <-s.gone:
	default:
		s.end()
	}
}

// end makes both directions of the session stop.
func (s *session) end() { s.once.Do(func() { close(s.gone) }) }

// hub knows the sessions of this gateway.
type hub struct {
	log      *jsonlog.Logger
	changed  chan struct{}
	mu       sync.Mutex
	sessions map[*session]bool
}

func newHub(log *jsonlog.Logger) *hub {
	return &hub{log: log, changed: make(chan struct{}, 1), sessions: map[*session]bool{}}
}

func (h *hub) change() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *hub) add(s *session) {
	h.mu.Lock()
	h.sessions[s] = true
	h.mu.Unlock()
	h.change()
}

func (h *hub) remove(s *session) {
	s.end()
	h.mu.Lock()
	delete(h.sessions, s)
	h.mu.Unlock()
	h.change()
}

// rename changes who and where a session is; empty keeps what is.
func (h *hub) rename(s *session, name, room string) {
	s.mu.Lock()
	if name != "" {
		s.name = name
	}
	if room != "" {
		s.room = room
	}
	s.mu.Unlock()
	h.change()
}

func (h *hub) all() []*session {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := make([]*session, 0, len(h.sessions))
	for s := range h.sessions {
		found = append(found, s)
	}
	return found
}

func (h *hub) count(via string) int {
	n := 0
	for _, s := range h.all() {
		if s.via == via {
			n++
		}
	}
	return n
}

func (h *hub) deliver(m message) {
	for _, s := range h.all() {
		if _, room := s.who(); room == m.Room {
			copied := m
			s.tell(event{Type: "message", Message: &copied})
		}
	}
}

// announceDrain tells people that this gateway is about to go: who reconnects now reaches its successor.
func (h *hub) announceDrain() {
	for _, s := range h.all() {
		s.tell(event{Type: "draining"})
	}
}

func (h *hub) closeAll() {
	for _, s := range h.all() {
		s.end()
	}
	// The writers say good-bye in their own time.
	for i := 0; i < 20 && len(h.all()) > 0; i++ {
		time.Sleep(20 * time.Millisecond)
	}
}
