// Command directory knows who is connected. Gateways tell it every few seconds; it keeps that in the store with a time
// at which it expires, so that any copy of it can answer and a gateway that died is forgotten.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	_ "github.com/lib/pq" // the driver of the store

	"lanchat/jsonlog"
	"lanchat/metrics"
	"lanchat/serve"
	"lanchat/settings"
	"lanchat/version"
)

const (
	configPath = "/etc/lan-chat/directory.json"
	// A gateway tells us every 5 s; after three that did not come its people are gone.
	expiry  = "15 seconds"
	maxBody = 1 << 20
)

type config struct {
	HTTP     string            `json:"http"`
	Database settings.Database `json:"database"`
}

type directory struct {
	log    *jsonlog.Logger
	db     *sql.DB
	ready  atomic.Bool // the schema is there
	beats  *metrics.Counter
	asked  *metrics.Counter
	server *serve.Server
}

// person is somebody who is connected to a gateway.
type person struct {
	Name    string    `json:"name"`
	Room    string    `json:"room"`
	Via     string    `json:"via"`
	Since   time.Time `json:"since"`
	Gateway string    `json:"gateway,omitempty"`
	Version string    `json:"gateway_version,omitempty"`
}

func main() {
	log := jsonlog.New("directory")
	path := os.Getenv("LAN_CHAT_CONFIG")
	if path == "" {
		path = configPath
	}
	read := func() (config, error) {
		c := config{HTTP: ":8081"}
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
	dsn, err := c.Database.DSN()
	if err != nil {
		return err
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return fmt.Errorf("address of the store is not valid: %w", err)
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(2)
	d := &directory{log: log, db: db}
	registry := &metrics.Registry{}
	d.beats = registry.Counter("lan_chat_directory_heartbeats_total", "Heartbeats taken from gateways.")
	d.asked = registry.Counter("lan_chat_directory_lookups_total", "Times that somebody asked who is connected.")
	registry.Info("lan_chat_build_info", "What runs here.", []string{"version"}, []string{version.Version})

	mux := http.NewServeMux()
	mux.HandleFunc("/v1/presence", d.presence)
	mux.HandleFunc("/v1/people", d.people)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fail(w, http.StatusNotFound, "nothing is here") })
	d.server = &serve.Server{
		Log: log, Address: c.HTTP, Handler: mux, Metrics: registry,
		Readiness: serve.NewReadiness(log, serve.Check{Name: "store", Run: d.check}),
		Route: func(path string) string {
			switch path {
			case "/v1/presence", "/v1/people", "/healthz", "/metrics":
				return path
			}
			return "other"
		},
	}
	return d.server.Run()
}

// check makes the schema the first time that the store answers, and later only asks it.
func (d *directory) check(ctx context.Context) error {
	if d.ready.Load() {
		var one int
		return d.db.QueryRowContext(ctx, `SELECT 1 FROM presence UNION ALL SELECT 1 LIMIT 1`).Scan(&one)
	}
	transaction, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = transaction.Rollback() }()
	if _, err := transaction.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, settings.SchemaLock); err != nil {
		return err
	}
	// Who is connected need not outlive a crash of the store: unlogged tables cost no writes to its log.
	if _, err := transaction.ExecContext(ctx, `CREATE UNLOGGED TABLE IF NOT EXISTS presence (
		gateway text PRIMARY KEY,
		version text NOT NULL,
		people jsonb NOT NULL,
		expires_at timestamptz NOT NULL
	)`); err != nil {
		return err
	}
	if err := transaction.Commit(); err != nil {
		return err
	}
	d.ready.Store(true)
	return nil
}

func reply(w http.ResponseWriter, code int, body map[string]interface{}) {
	body["version"] = version.Version
	serve.JSON(w, code, body)
}

func fail(w http.ResponseWriter, code int, why string) {
	reply(w, code, map[string]interface{}{"error": why})
}

// presence serves POST /v1/presence: all who are connected to one gateway, taking the place of what it said before.
func (d *directory) presence(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		fail(w, http.StatusMethodNotAllowed, "method is not known here")
		return
	}
	var body struct {
		Gateway, Version string
		People           []person
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body)
	if err != nil || body.Gateway == "" || len(body.Gateway) > 128 {
		fail(w, http.StatusBadRequest, "body is not the JSON that is expected here")
		return
	}
	if body.People == nil {
		body.People = []person{}
	}
	people, err := json.Marshal(body.People)
	if err != nil {
		fail(w, http.StatusBadRequest, "body is not the JSON that is expected here")
		return
	}
	_, err = d.db.ExecContext(r.Context(), `
		WITH expired AS (DELETE FROM presence WHERE expires_at < now() - interval '1 minute' AND gateway <> $1)
		INSERT INTO presence (gateway, version, people, expires_at) VALUES ($1, $2, $3, now() + $4::interval)
		ON CONFLICT (gateway) DO UPDATE SET version = $2, people = $3, expires_at = now() + $4::interval`,
		body.Gateway, body.Version, string(people), expiry)
	if err != nil {
		d.log.Error("heartbeat was not stored", "gateway", body.Gateway, "error", err)
		fail(w, http.StatusInternalServerError, "store does not answer; try again")
		return
	}
	d.beats.Add(1)
	reply(w, http.StatusOK, map[string]interface{}{"people": len(body.People)})
}

// people serves GET /v1/people: everybody who is connected to any gateway.
func (d *directory) people(w http.ResponseWriter, r *http.Request) {
	d.asked.Add(1)
	found, err := d.connected(r.Context())
	if err != nil {
		d.log.Error("people can't be read", "error", err)
		fail(w, http.StatusInternalServerError, "store does not answer; try again")
		return
	}
	reply(w, http.StatusOK, map[string]interface{}{"people": found})
}

func (d *directory) connected(ctx context.Context) ([]person, error) {
	rows, err := d.db.QueryContext(ctx,
		`SELECT gateway, version, people FROM presence WHERE expires_at > now() ORDER BY gateway`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := []person{}
	for rows.Next() {
		var gateway, gatewayVersion string
		var raw []byte
		if err := rows.Scan(&gateway, &gatewayVersion, &raw); err != nil {
			return nil, err
		}
		var here []person
		if err := json.Unmarshal(raw, &here); err != nil {
			return nil, err
		}
		for _, p := range here {
			p.Gateway, p.Version = gateway, gatewayVersion
			found = append(found, p)
		}
	}
	return found, rows.Err()
}
