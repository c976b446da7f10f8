package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// client sends requests, one after another.
type client struct {
	plan   plan
	record *record
	kind   string
}

// keep sends requests on one connection for as long as the server keeps it.
func (c *client) keep(ctx context.Context, p *pace) {
	var conn net.Conn
	var reader *bufio.Reader
	hangUp := func() {
		if conn != nil {
			_ = conn.Close()
			conn = nil
		}
	}
	defer hangUp()
	for p.wait(ctx) {
		// A server may close an idle connection at any time; who looks before sending loses nothing by it. A
		// connection that breaks once the request is on its way is a failure, and is not tried again.
		if conn != nil && hungUp(conn) {
			hangUp()
			c.record.reopened()
		}
		begun := time.Now()
		if conn == nil {
			made, err := net.DialTimeout("tcp", c.plan.http, c.plan.timeout)
			if err != nil {
				c.record.request(c.kind, begun, "", err)
				continue
			}
			conn, reader = made, bufio.NewReaderSize(made, 4096)
		}
		version, close, err := c.exchange(conn, reader, "keep-alive")
		c.record.request(c.kind, begun, version, err)
		if err != nil || close {
			hangUp()
		}
	}
}

// renew opens a connection for each request.
func (c *client) renew(ctx context.Context, p *pace) {
	for p.wait(ctx) {
		begun := time.Now()
		conn, err := net.DialTimeout("tcp", c.plan.http, c.plan.timeout)
		if err != nil {
			c.record.request(c.kind, begun, "", err)
			continue
		}
		version, _, err := c.exchange(conn, bufio.NewReaderSize(conn, 4096), "close")
		c.record.request(c.kind, begun, version, err)
		_ = conn.Close()
	}
}

// exchange sends one request and reads all of its answer; close says that the server wants no more on this connection.
func (c *client) exchange(conn net.Conn, reader *bufio.Reader, connection string) (version string, close bool, err error) {
	_ = conn.SetDeadline(time.Now().Add(c.plan.timeout))
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\nConnection: %s\r\n\r\n",
		c.plan.path, c.plan.http, connection)
	if _, err := io.WriteString(conn, request); err != nil {
		return "", true, err
	}
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return "", true, fmt.Errorf("no answer: %w", err)
	}
	defer answer.Body.Close()
	version = answer.Header.Get("X-Lan-Chat-Version")
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return version, true, fmt.Errorf("answer was cut: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return version, answer.Close, fmt.Errorf("status %d", answer.StatusCode)
	}
	return version, answer.Close, nil
}

// hungUp looks, without waiting or reading, whether the other side has closed the connection.
func hungUp(conn net.Conn) bool {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Read(func(descriptor uintptr) bool {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(descriptor), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = (n == 0 && err == nil) || (err != nil && err != syscall.EAGAIN)
		return true
	})
	return gone || err != nil
}
