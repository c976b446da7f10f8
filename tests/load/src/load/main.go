// Command load stands before a front door and does what users do: requests on connections that are kept alive, requests
// on connections of their own, and WebSocket and TCP sessions that are held with a ping. It never tries anything a second
// time, so whatever goes wrong shows; at the end it prints one JSON report.
//
// It shares no code with what it measures. Connections are driven by hand: net/http would silently repeat a request
// whose connection broke.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// plan is what was asked for.
type plan struct {
	http, tcp, path, room   string
	keepAlive, fresh        int
	keepAliveRate, newRate  float64
	webSockets, tcpSessions int
	ping, timeout, duration time.Duration
	reopen                  bool
	out                     string
}

func parse() plan {
	p := plan{}
	flag.StringVar(&p.http, "http", "", "`HOST:PORT` of the front door for HTTP and WebSocket")
	flag.StringVar(&p.tcp, "tcp", "", "`HOST:PORT` of the front door for TCP")
	flag.StringVar(&p.path, "path", "/api/ping", "what to request; anything but 200 is a failure")
	flag.StringVar(&p.room, "room", "load", "room that the sessions are in")
	flag.IntVar(&p.keepAlive, "keep-alive", 8, "clients that keep their connection")
	flag.Float64Var(&p.keepAliveRate, "keep-alive-rate", 300, "requests per second of all of them together")
	flag.IntVar(&p.fresh, "new", 4, "clients that open a connection for each request")
	flag.Float64Var(&p.newRate, "new-rate", 100, "requests per second of all of them together")
	flag.IntVar(&p.webSockets, "websockets", 20, "WebSocket sessions to hold")
	flag.IntVar(&p.tcpSessions, "tcp-sessions", 20, "TCP sessions to hold")
	flag.DurationVar(&p.ping, "ping", 500*time.Millisecond, "time between pings of a session")
	flag.DurationVar(&p.timeout, "timeout", 5*time.Second, "longest wait for an answer, a pong or a connection")
	flag.DurationVar(&p.duration, "duration", 0, "how long; 0 is until SIGTERM or SIGINT")
	flag.BoolVar(&p.reopen, "reopen", false, "open dropped sessions again, after a second; each drop counts all the same")
	flag.StringVar(&p.out, "out", "", "`FILE` for the report (default: standard output)")
	flag.Parse()
	if p.http == "" {
		p.keepAlive, p.fresh, p.webSockets = 0, 0, 0
	}
	if p.tcp == "" {
		p.tcpSessions = 0
	}
	if flag.NArg() > 0 || p.keepAlive+p.fresh+p.webSockets+p.tcpSessions == 0 {
		fmt.Fprintln(os.Stderr, "load: nothing to do; give --http and clients, or --tcp")
		os.Exit(2)
	}
	return p
}

func main() {
	p := parse()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if p.duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, p.duration)
		defer cancel()
	}
	r := newRecord()
	run(ctx, p, r)
	if err := write(p.out, r.report(p)); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// run starts everybody, says "ready" once the sessions have answered for the first time, and waits for the end.
func run(ctx context.Context, p plan, r *record) {
	var all sync.WaitGroup
	var waiting atomic.Int64
	waiting.Store(int64(p.webSockets + p.tcpSessions))
	ready := func() {
		if waiting.Add(-1) == 0 {
			fmt.Fprintln(os.Stderr, "ready")
		}
	}
	start := func(work func()) {
		all.Add(1)
		go func() {
			defer all.Done()
			work()
		}()
	}
	if p.webSockets+p.tcpSessions == 0 {
		fmt.Fprintln(os.Stderr, "ready")
	}
	for i := 0; i < p.webSockets; i++ {
		s := &session{plan: p, record: r, kind: "websocket", name: fmt.Sprintf("load-ws-%d", i), ready: ready}
		start(func() { s.hold(ctx) })
	}
	for i := 0; i < p.tcpSessions; i++ {
		s := &session{plan: p, record: r, kind: "tcp", name: fmt.Sprintf("load-tcp-%d", i), ready: ready}
		start(func() { s.hold(ctx) })
	}
	for i := 0; i < p.keepAlive; i++ {
		c := &client{plan: p, record: r, kind: "kept_alive"}
		pace := newPace(p.keepAliveRate, p.keepAlive, i)
		start(func() { c.keep(ctx, pace) })
	}
	for i := 0; i < p.fresh; i++ {
		c := &client{plan: p, record: r, kind: "new"}
		pace := newPace(p.newRate, p.fresh, i)
		start(func() { c.renew(ctx, pace) })
	}
	all.Wait()
}

func write(path string, report interface{}) error {
	encoded, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		return err
	}
	encoded = append(encoded, '\n')
	if path == "" {
		_, err = os.Stdout.Write(encoded)
		return err
	}
	return os.WriteFile(path, encoded, 0o644)
}

// pace spreads the requests of one of several clients evenly. Who is late goes on from now: no bursts to catch up.
type pace struct {
	every time.Duration
	next  time.Time
}

func newPace(rate float64, clients, index int) *pace {
	every := time.Duration(float64(clients) / rate * float64(time.Second))
	offset := time.Duration(float64(index) / rate * float64(time.Second))
	return &pace{every: every, next: time.Now().Add(offset)}
}

// wait returns false when it is time to end.
func (p *pace) wait(ctx context.Context) bool {
	now := time.Now()
	if p.next.Before(now.Add(-p.every)) {
		p.next = now
	}
	timer := time.NewTimer(p.next.Sub(now))
	defer timer.Stop()
	p.next = p.next.Add(p.every)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
