package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"

	"lanchat/serve"
	"lanchat/version"
)

// relay serves one connection of the line protocol: NICK, JOIN, PING, SAY, QUIT; every other line is said.
func (g *gateway) relay(conn net.Conn) {
	defer conn.Close()
	s := newSession(viaTCP, "", "lobby")
	g.hub.add(s)
	defer g.hub.remove(s)
	s.tell(event{Type: "line", Text: fmt.Sprintf("LAN-CHAT %s %s", version.Version, serve.Instance())})
	go g.listenLines(conn, s)
	for {
		select {
		case e := <-s.out:
			if writeLines(conn, e) != nil {
				return
			}
		case <-s.gone:
			for len(s.out) > 0 {
				if writeLines(conn, <-s.out) != nil {
					return
				}
			}
			_ = writeLines(conn, event{Type: "line", Text: "BYE"})
			return
		}
	}
}

func writeLines(conn net.Conn, e event) error {
	var text strings.Builder
	switch e.Type {
	case "message":
		for _, line := range strings.Split(e.Message.Text, "\n") {
			fmt.Fprintf(&text, "#%s <%s> %s\r\n", e.Message.Room, e.Message.Name, line)
		}
	case "draining":
		text.WriteString("NOTICE this gateway is about to end; reconnect when it suits you\r\n")
	case "error":
		fmt.Fprintf(&text, "ERR %s\r\n", e.Text)
	default:
		fmt.Fprintf(&text, "%s\r\n", e.Text)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeWait))
	_, err := conn.Write([]byte(text.String()))
	return err
}

func (g *gateway) listenLines(conn net.Conn, s *session) {
	defer s.end()
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 4096), maxBody)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		command, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case line == "":
		case line == "PING":
			s.tell(event{Type: "line", Text: "PONG " + version.Version})
		case line == "QUIT":
			return
		case command == "NICK":
			g.nick(s, rest)
		case command == "JOIN":
			g.join(s, rest)
		case command == "SAY":
			g.sayLine(s, rest)
		default:
			g.sayLine(s, line)
		}
	}
}

func (g *gateway) nick(s *session, name string) {
	if !validName(name) {
		s.tell(event{Type: "error", Text: "NICK needs a name: " + nameRule})
		return
	}
	g.hub.rename(s, name, "")
	s.tell(event{Type: "line", Text: "OK you are " + name})
}

func (g *gateway) join(s *session, room string) {
	room = strings.TrimPrefix(room, "#")
	if !validRoom(room) {
		s.tell(event{Type: "error", Text: "JOIN needs a room: " + roomRule})
		return
	}
	g.hub.rename(s, "", room)
	s.tell(event{Type: "line", Text: "OK you are in #" + room})
}

func (g *gateway) sayLine(s *session, text string) {
	if name, _ := s.who(); name == "" {
		s.tell(event{Type: "error", Text: "who are you? NICK name first"})
		return
	}
	g.say(s, text)
}
