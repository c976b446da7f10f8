// Package serve runs the listeners of a service: version in every answer, health, metrics, and an end without a cut.
package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lanchat/jsonlog"
	"lanchat/metrics"
	"lanchat/version"
)

const (
	// DefaultPatience is how long open sessions may go on after SIGTERM.
	DefaultPatience = 25 * time.Second
	// Connections that were kept alive may have a request on the way when the end begins.
	grace = time.Second
)

// Stream is a raw TCP listener and what to do with each of its connections.
type Stream struct {
	Address string
	Handle  func(net.Conn)
}

// Server is one service on its ports.
type Server struct {
	Log       *jsonlog.Logger
	Address   string
	Handler   http.Handler
	Readiness *Readiness
	Metrics   *metrics.Registry
	Route     func(path string) string // the metric label of a path
	Streams   []Stream
	Patience  time.Duration // how long open sessions may go on after SIGTERM; 0 is DefaultPatience
	OnDrain   func()        // SIGTERM has come: nothing new is accepted
	OnStop    func()        // the process ends now: say good-bye

	draining  atomic.Bool
	busy      atomic.Int64
	listeners []net.Listener
	requests  *metrics.Counter
	seconds   *metrics.Histogram
}

// Draining says whether SIGTERM has come.
func (s *Server) Draining() bool { return s.draining.Load() }

// Run serves until SIGTERM or SIGINT and then drains: nothing new is accepted, requests are finished, sessions are kept
// until they end or Patience is over.
func (s *Server) Run() error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	s.measure()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.Readiness.Watch(ctx)

	server := &http.Server{Handler: s.front(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1+len(s.Streams))
	listener, err := net.Listen("tcp", s.Address)
	if err != nil {
		return fmt.Errorf("can't listen: %w", err)
	}
	s.listeners = append(s.listeners, listener)
	go func() { failed <- server.Serve(listener) }()
	for _, stream := range s.Streams {
		if err := s.stream(stream, failed); err != nil {
			return err
		}
	}
	s.Log.Info("serving", "http", s.Address)
	select {
	case err := <-failed:
		return fmt.Errorf("listener ended: %w", err)
	case received := <-signals:
		s.drain(received, signals)
	}
	if s.OnStop != nil {
		s.OnStop()
	}
	limited, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	_ = server.Shutdown(limited)
	s.Log.Info("stopped", "cut", s.busy.Load())
	return nil
}

func (s *Server) stream(stream Stream, failed chan<- error) error {
	listener, err := net.Listen("tcp", stream.Address)
	if err != nil {
		return fmt.Errorf("can't listen: %w", err)
	}
	s.listeners = append(s.listeners, listener)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				failed <- err
				return
			}
			s.busy.Add(1)
			go func() {
				defer s.busy.Add(-1)
				stream.Handle(conn)
			}()
		}
	}()
	return nil
}

func (s *Server) drain(received os.Signal, again <-chan os.Signal) {
	s.draining.Store(true)
	for _, listener := range s.listeners {
		_ = listener.Close()
	}
	s.Log.Info("draining", "signal", received.String(), "open", s.busy.Load())
	if s.OnDrain != nil {
		s.OnDrain()
	}
	patience := s.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	begun := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-again:
			return
		case <-tick.C:
			waited := time.Since(begun)
			if waited >= patience || (waited >= grace && s.busy.Load() == 0) {
				return
			}
		}
	}
}

func (s *Server) measure() {
	s.requests = s.Metrics.Counter("lan_chat_http_requests_total", "Answered HTTP requests.", "method", "route", "code")
	s.seconds = s.Metrics.Histogram("lan_chat_http_request_seconds", "Time to answer a request, sessions not counted.",
		0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
	s.Metrics.Gauge("lan_chat_ready", "1 when everything that is needed is reachable.", func() float64 {
		if s.Draining() || len(s.Readiness.Failing()) > 0 {
			return 0
		}
		return 1
	})
}

// front answers /healthz and /metrics itself and stands before everything else.
func (s *Server) front() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer s.busy.Add(-1)
		begun := time.Now()
		w.Header().Set("X-Lan-Chat-Version", version.Version)
		if s.Draining() {
			w.Header().Set("Connection", "close")
		}
		recorder := &recorder{ResponseWriter: w, code: http.StatusOK}
		switch r.URL.Path {
		case "/healthz":
			s.health(recorder)
		case "/metrics":
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			s.Metrics.Write(recorder)
		default:
			s.Handler.ServeHTTP(recorder, r)
		}
		s.requests.Add(1, method(r.Method), s.Route(r.URL.Path), fmt.Sprint(recorder.code))
		if !recorder.hijacked {
			s.seconds.Observe(time.Since(begun).Seconds())
		}
	})
}

// method keeps what strangers send from making new time series.
func method(name string) string {
	switch name {
	case "GET", "HEAD", "POST", "PUT", "DELETE":
		return name
	}
	return "other"
}

func (s *Server) health(w http.ResponseWriter) {
	failing := s.Readiness.Failing()
	switch {
	case s.Draining():
		JSON(w, http.StatusServiceUnavailable, map[string]interface{}{"status": "draining", "version": version.Version})
	case len(failing) > 0:
		JSON(w, http.StatusServiceUnavailable, map[string]interface{}{
			"status": "not ready", "failing": failing, "version": version.Version,
		})
	default:
		JSON(w, http.StatusOK, map[string]interface{}{"status": "ok", "version": version.Version})
	}
}

// JSON writes an answer.
func JSON(w http.ResponseWriter, code int, body interface{}) {
	encoded, err := json.Marshal(body)
	if err != nil {
		code, encoded = http.StatusInternalServerError, []byte(`{"error":"answer can't be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(encoded, '\n'))
}

// Healthcheck asks a service on this machine whether it is ready and returns the exit code for the engine's probe.
func Healthcheck(address string) int {
	client := http.Client{Timeout: 3 * time.Second}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	answer, err := client.Get("http://127.0.0.1:" + port + "/healthz")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	fmt.Print(string(body))
	if answer.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}

// Main runs a service's command line: "healthcheck", "--version", or nothing to serve.
func Main(log *jsonlog.Logger, address func() (string, error), run func() error) {
	var argument string
	if len(os.Args) > 1 {
		argument = os.Args[1]
	}
	switch argument {
	case "--version":
		fmt.Println(version.Version)
	case "healthcheck":
		at, err := address()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(Healthcheck(at))
	case "":
		if err := run(); err != nil {
			log.Error("ended", "error", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "unknown argument %q; known are healthcheck and --version\n", argument)
		os.Exit(2)
	}
}

var once sync.Once
var hostname string

// Instance names this copy of the service: the container's host name.
func Instance() string {
	once.Do(func() {
		name, err := os.Hostname()
		if err != nil {
			name = "unknown"
		}
		hostname = name
	})
	return hostname
}
