package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// session is held open with a ping now and then. It is dropped when the other side ends it or stops answering.
type session struct {
	plan   plan
	record *record
	kind   string
	name   string
	ready  func()
	once   sync.Once
}

// line is one open connection that can ping and tell the version in the next pong.
type line interface {
	ping() error
	pong() (version string, err error)
	close()
}

func (s *session) hold(ctx context.Context) {
	defer s.once.Do(s.ready)
	for ctx.Err() == nil {
		err := s.holdOnce(ctx)
		if err == nil || !s.plan.reopen {
			return
		}
		s.once.Do(s.ready)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// holdOnce opens the connection and keeps it until ctx ends (nil) or it is dropped.
func (s *session) holdOnce(ctx context.Context) error {
	opened, err := s.open()
	if err != nil {
		s.record.notOpened(s.kind, s.name, err)
		return err
	}
	s.record.opened(s.kind)
	defer opened.close()
	broken := make(chan error, 1)
	go s.listen(opened, broken)
	ticker := time.NewTicker(s.plan.ping)
	defer ticker.Stop()
	for {
		err := opened.ping()
		if err == nil {
			select {
			case <-ctx.Done():
				s.record.held(s.kind)
				return nil
			case err = <-broken:
			case <-ticker.C:
				continue
			}
		}
		// The reader knows better than the writer why it ended.
		select {
		case read := <-broken:
			err = read
		case <-time.After(100 * time.Millisecond):
		}
		s.record.dropped(s.kind, s.name, err)
		return err
	}
}

func (s *session) listen(opened line, broken chan<- error) {
	for {
		version, err := opened.pong()
		if err != nil {
			broken <- err
			return
		}
		s.record.pong(s.kind, version)
		s.once.Do(s.ready)
	}
}

func (s *session) open() (line, error) {
	if s.kind == "tcp" {
		return s.openTCP()
	}
	return s.openWebSocket()
}

type webLine struct {
	conn    *websocket.Conn
	timeout time.Duration
}

func (s *session) openWebSocket() (line, error) {
	dialer := websocket.Dialer{HandshakeTimeout: s.plan.timeout}
	query := url.Values{"room": {s.plan.room}, "name": {s.name}}
	conn, answer, err := dialer.Dial("ws://"+s.plan.http+"/ws?"+query.Encode(), nil)
	if err != nil {
		if answer != nil {
			return nil, fmt.Errorf("%w: status %d", err, answer.StatusCode)
		}
		return nil, err
	}
	return &webLine{conn: conn, timeout: s.plan.timeout}, nil
}

func (w *webLine) ping() error {
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.timeout))
	return w.conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`))
}

func (w *webLine) pong() (string, error) {
	_ = w.conn.SetReadDeadline(time.Now().Add(w.timeout))
	for {
		_, raw, err := w.conn.ReadMessage()
		if err != nil {
			return "", whyEnded(err, w.timeout)
		}
		var frame struct{ Type, Version string }
		if json.Unmarshal(raw, &frame) == nil && frame.Type == "pong" {
			return frame.Version, nil
		}
	}
}

func (w *webLine) close() { _ = w.conn.Close() }

type tcpLine struct {
	conn    net.Conn
	reader  *bufio.Reader
	timeout time.Duration
}

func (s *session) openTCP() (line, error) {
	conn, err := net.DialTimeout("tcp", s.plan.tcp, s.plan.timeout)
	if err != nil {
		return nil, err
	}
	t := &tcpLine{conn: conn, reader: bufio.NewReader(conn), timeout: s.plan.timeout}
	_ = conn.SetDeadline(time.Now().Add(s.plan.timeout))
	if _, err := fmt.Fprintf(conn, "NICK %s\r\nJOIN %s\r\n", s.name, s.plan.room); err != nil {
		t.close()
		return nil, err
	}
	// A front door takes a connection before it knows whether anybody is behind it: only a word from there counts.
	if _, err := t.reader.ReadString('\n'); err != nil {
		t.close()
		return nil, whyEnded(err, s.plan.timeout)
	}
	return t, nil
}

func (t *tcpLine) ping() error {
	_ = t.conn.SetWriteDeadline(time.Now().Add(t.timeout))
	_, err := t.conn.Write([]byte("PING\r\n"))
	return err
}

func (t *tcpLine) pong() (string, error) {
	_ = t.conn.SetReadDeadline(time.Now().Add(t.timeout))
	for {
		text, err := t.reader.ReadString('\n')
		if err != nil {
			return "", whyEnded(err, t.timeout)
		}
		if version := strings.TrimPrefix(text, "PONG "); version != text {
			return strings.TrimSpace(version), nil
		}
	}
}

func (t *tcpLine) close() { _ = t.conn.Close() }

func whyEnded(err error, timeout time.Duration) error {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return fmt.Errorf("no answer to a ping in %s", timeout)
	}
	return fmt.Errorf("ended by the other side: %w", err)
}
