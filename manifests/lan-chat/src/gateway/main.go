// Command gateway is the door of lan-chat: the web page, the HTTP API, WebSocket chat and the raw TCP relay. It keeps
// nothing itself; people on different gateways, of the same release or of two, meet in the store.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"lanchat/jsonlog"
	"lanchat/metrics"
	"lanchat/serve"
	"lanchat/settings"
	"lanchat/version"
)

const configPath = "/etc/lan-chat/gateway.json"

// config is what a site decides.
type config struct {
	Site        string            `json:"site"`
	Environment string            `json:"environment"`
	ClusterID   string            `json:"cluster_id"`
	Peers       []string          `json:"peers"`
	HTTP        string            `json:"http"`
	Relay       string            `json:"relay"`
	Directory   string            `json:"directory"`
	Database    settings.Database `json:"database"`
	// How long sessions may go on after SIGTERM.
	SessionSeconds int `json:"session_seconds"`
	SMTP           struct {
		Host string `json:"host"`
	} `json:"smtp"`
}

// gateway is the running service.
type gateway struct {
	config   config
	log      *jsonlog.Logger
	store    *store
	hub      *hub
	presence *presence
	metrics  *metrics.Registry
	messages *metrics.Counter
	server   *serve.Server
}

// feature is what a release adds to the first one. Each stands in a file of its own that says since when.
type feature struct {
	name   string
	schema []string
	routes func(*gateway, *router)
	posted func(*gateway, message)
}

var features []feature

func featureNames() []string {
	names := []string{}
	for _, f := range features {
		names = append(names, f.name)
	}
	return names
}

func main() {
	log := jsonlog.New("gateway")
	path := os.Getenv("LAN_CHAT_CONFIG")
	if path == "" {
		path = configPath
	}
	read := func() (config, error) {
		c := config{HTTP: ":8080", Relay: ":9000", Directory: "http://directory:8081", Peers: []string{}}
		return c, settings.Read(path, &c)
	}
	address := func() (string, error) {
		c, err := read()
		return c.HTTP, err
	}
	serve.Main(log, address, func() error {
		c, err := read()
		if err != nil {
			return err
		}
		return run(c, log)
	})
}

func run(c config, log *jsonlog.Logger) error {
	st, err := openStore(c.Database)
	if err != nil {
		return err
	}
	g := &gateway{config: c, log: log, store: st, metrics: &metrics.Registry{}}
	g.hub = newHub(log)
	g.presence = newPresence(c.Directory, log, g.hub)
	g.measure()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go g.follow(ctx)
	go g.presence.run(ctx)

	g.server = &serve.Server{
		Log: log, Address: c.HTTP, Handler: g.routes(), Route: routeOf, Metrics: g.metrics,
		Readiness: serve.NewReadiness(log,
			serve.Check{Name: "store", Run: g.store.check},
			serve.Check{Name: "directory", Run: g.presence.check}),
		Streams:  []serve.Stream{{Address: c.Relay, Handle: g.relay}},
		Patience: time.Duration(c.SessionSeconds) * time.Second,
		OnDrain:  g.hub.announceDrain,
		OnStop: func() {
			g.hub.closeAll()
			g.presence.leave()
		},
	}
	log.Info("starting", "cluster_id", c.ClusterID, "peers", c.Peers, "site", c.Site, "features", featureNames())
	return g.server.Run()
}

// follow brings the schema up and then hands on every message that any gateway writes to the store.
func (g *gateway) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := g.store.migrate(ctx)
		if err == nil {
			break
		}
		g.log.Warn("schema is not ready", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	g.store.follow(ctx, g.log, g.hub.deliver)
}

func (g *gateway) measure() {
	g.messages = g.metrics.Counter("lan_chat_messages_total", "Messages taken from people.", "via")
	for _, via := range []string{viaHTTP, viaWebSocket, viaTCP} {
		g.messages.Add(0, via)
	}
	g.metrics.Gauge("lan_chat_websockets_open", "Open WebSocket sessions.", func() float64 {
		return float64(g.hub.count(viaWebSocket))
	})
	g.metrics.Gauge("lan_chat_tcp_sessions_open", "Open sessions of the TCP relay.", func() float64 {
		return float64(g.hub.count(viaTCP))
	})
	g.metrics.Info("lan_chat_build_info", "What runs here.",
		[]string{"version", "cluster_id", "features"},
		[]string{version.Version, g.config.ClusterID, strings.Join(featureNames(), " ")})
	started := float64(time.Now().UnixNano()) / 1e9
	g.metrics.Gauge("process_start_time_seconds", "When this process started.", func() float64 { return started })
}

// post takes a message from somebody, whatever way they came.
func (g *gateway) post(ctx context.Context, via, room, name, text string) (message, error) {
	text, err := cleanText(text)
	if err != nil {
		return message{}, err
	}
	if !validName(name) {
		return message{}, badInput(fmt.Sprintf("name %q: %s", name, nameRule))
	}
	if !validRoom(room) {
		return message{}, badInput(fmt.Sprintf("room %q: %s", room, roomRule))
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	written, err := g.store.post(limited, room, name, text)
	if err != nil {
		return message{}, err
	}
	g.messages.Add(1, via)
	for _, f := range features {
		if f.posted != nil {
			f.posted(g, written)
		}
	}
	return written, nil
}
