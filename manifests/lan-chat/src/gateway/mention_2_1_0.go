//go:build since_2_1_0

package main

import (
	"context"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/mail"
	"net/smtp"
	"regexp"
	"strings"
	"time"
)

func init() {
	features = append(features, feature{
		name: "mentions",
		schema: []string{
			`CREATE TABLE IF NOT EXISTS mail_addresses (
				name text PRIMARY KEY,
				address text NOT NULL,
				changed_at timestamptz NOT NULL DEFAULT now()
			)`,
		},
		routes: func(g *gateway, r *router) {
			r.handle("/api/people/", map[string]http.HandlerFunc{"PUT": g.setMail, "DELETE": g.setMail})
		},
		posted: func(g *gateway, m message) {
			if g.config.SMTP.Host != "" {
				go g.mailMentioned(m)
			}
		},
	})
}

var (
	mention = regexp.MustCompile(`@([\p{L}\p{N}][\p{L}\p{N}._-]{0,31})`)
	// Mails that are on their way; more than this and the mail server has a problem that waiting makes worse.
	mailing = make(chan struct{}, 8)
)

// setMail serves PUT /api/people/{name}/mail with {"mail": …}, and DELETE. Addresses are never given out again.
func (g *gateway) setMail(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/api/people/"), "/mail")
	if !strings.HasSuffix(r.URL.Path, "/mail") || !validName(name) {
		fail(w, http.StatusNotFound, "no such person; "+nameRule)
		return
	}
	statement, arguments := `DELETE FROM mail_addresses WHERE name = $1`, []interface{}{name}
	if r.Method == http.MethodPut {
		var body struct{ Mail string }
		if !readBody(w, r, &body) {
			return
		}
		address, err := mail.ParseAddress(body.Mail)
		if err != nil {
			fail(w, http.StatusBadRequest, "mail: that is not an address")
			return
		}
		statement = `INSERT INTO mail_addresses (name, address) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET address = $2, changed_at = now()`
		arguments = append(arguments, address.Address)
	}
	if _, err := g.store.db.ExecContext(r.Context(), statement, arguments...); err != nil {
		g.failWith(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]interface{}{"name": name, "mail_when_mentioned": r.Method == http.MethodPut})
}

// mailMentioned writes to whoever is mentioned, has left an address and is not connected.
func (g *gateway) mailMentioned(m message) {
	found := mention.FindAllStringSubmatch(m.Text, 10)
	if len(found) == 0 {
		return
	}
	select {
	case mailing <- struct{}{}:
		defer func() { <-mailing }()
	default:
		g.log.Warn("mail is not sent: too many are on their way")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	here := g.online(ctx)
	told := map[string]bool{m.Name: true}
	for _, match := range found {
		name := strings.TrimRight(match[1], "._-")
		if told[name] || here[name] {
			continue
		}
		told[name] = true
		var address string
		row := g.store.db.QueryRowContext(ctx, `SELECT address FROM mail_addresses WHERE name = $1`, name)
		if row.Scan(&address) != nil {
			continue
		}
		if err := sendMail(g.config.SMTP.Host, address, m); err != nil {
			g.log.Error("mail was not taken", "host", g.config.SMTP.Host, "error", err)
			continue
		}
		g.log.Info("mail sent", "to", name, "room", m.Room)
	}
}

func (g *gateway) online(ctx context.Context) map[string]bool {
	here := map[string]bool{}
	answer, err := g.presence.people(ctx)
	if err != nil {
		return here
	}
	people, _ := answer["people"].([]interface{})
	for _, entry := range people {
		if p, ok := entry.(map[string]interface{}); ok {
			here[fmt.Sprint(p["name"])] = true
		}
	}
	return here
}

func sendMail(host, to string, m message) error {
	address := host
	if _, _, err := net.SplitHostPort(host); err != nil {
		address = net.JoinHostPort(host, "25")
	}
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		_ = conn.Close()
		return err
	}
	defer client.Close()
	const from = "lan-chat@localhost"
	subject := mime.QEncoding.Encode("utf-8", fmt.Sprintf("%s mentioned you in #%s", m.Name, m.Room))
	text := fmt.Sprintf("From: lan-chat <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s\r\n",
		from, to, subject, m.SentAt.Format(time.RFC1123Z), strings.ReplaceAll(m.Text, "\n", "\r\n"))
	if err := client.Mail(from); err != nil {
		return err
	}
	if err := client.Rcpt(to); err != nil {
		return err
	}
	body, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := body.Write([]byte(text)); err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	return client.Quit()
}
