package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sort"
	"sync/atomic"
	"time"

	"github.com/lib/pq"

	"lanchat/settings"
)

// message is one line that somebody wrote.
type message struct {
	ID     int64     `json:"id"`
	Room   string    `json:"room"`
	Name   string    `json:"name"`
	Text   string    `json:"text"`
	SentAt time.Time `json:"sent_at"`
}

// room is one room and when somebody last wrote in it.
type room struct {
	Name     string     `json:"name"`
	LastSent *time.Time `json:"last_sent"`
}

// store reads and writes PostgreSQL. Every change of the schema must leave the release before able to work: while an
// upgrade lasts, both are alive.
type store struct {
	db    *sql.DB
	dsn   string
	ready atomic.Bool // the schema is there
}

var baseSchema = []string{
	`CREATE TABLE IF NOT EXISTS rooms (
		name text PRIMARY KEY,
		created_at timestamptz NOT NULL DEFAULT now()
	)`,
	`INSERT INTO rooms (name) VALUES ('lobby') ON CONFLICT DO NOTHING`,
	`CREATE TABLE IF NOT EXISTS messages (
		id bigserial PRIMARY KEY,
		room text NOT NULL REFERENCES rooms (name),
		author text NOT NULL,
		body text NOT NULL,
		sent_at timestamptz NOT NULL DEFAULT now()
	)`,
	`CREATE INDEX IF NOT EXISTS messages_by_room ON messages (room, id)`,
}

func openStore(database settings.Database) (*store, error) {
	dsn, err := database.DSN()
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return nil, fmt.Errorf("address of the store is not valid: %w", err)
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(4)
	db.SetConnMaxLifetime(30 * time.Minute)
	return &store{db: db, dsn: dsn}, nil
}

// migrate makes the schema that this release needs; doing it again changes nothing.
func (s *store) migrate(ctx context.Context) error {
	transaction, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = transaction.Rollback() }()
	if _, err := transaction.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, settings.SchemaLock); err != nil {
		return err
	}
	statements := append([]string{}, baseSchema...)
	for _, f := range features {
		statements = append(statements, f.schema...)
	}
	for _, statement := range statements {
		if _, err := transaction.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if err := transaction.Commit(); err != nil {
		return err
	}
	s.ready.Store(true)
	return nil
}

// check tells whether the store answers and has the schema.
func (s *store) check(ctx context.Context) error {
	if !s.ready.Load() {
		return errors.New("schema is not ready")
	}
	var one int
	return s.db.QueryRowContext(ctx, `SELECT count(*) FROM rooms WHERE name = 'lobby'`).Scan(&one)
}

// post writes a message and tells every gateway.
func (s *store) post(ctx context.Context, room, name, text string) (message, error) {
	m := message{Room: room, Name: name, Text: text}
	if _, err := s.db.ExecContext(ctx, `INSERT INTO rooms (name) VALUES ($1) ON CONFLICT DO NOTHING`, room); err != nil {
		return m, err
	}
	var notified string
	err := s.db.QueryRowContext(ctx, `
		WITH written AS (INSERT INTO messages (room, author, body) VALUES ($1, $2, $3) RETURNING id, sent_at)
		SELECT id, sent_at, pg_notify($4, id::text)::text FROM written`, room, name, text, channel,
	).Scan(&m.ID, &m.SentAt, &notified)
	return m, err
}

const selectMessages = `SELECT id, room, author, body, sent_at FROM messages `

// history returns up to limit messages of a room in the order they were written: the newest ones, or those before or
// after an id where it is not 0.
func (s *store) history(ctx context.Context, room string, before, after int64, limit int) ([]message, error) {
	if after > 0 {
		return s.query(ctx, selectMessages+`WHERE room = $1 AND id > $2 ORDER BY id LIMIT $3`, room, after, limit)
	}
	if before <= 0 {
		before = 1<<63 - 1
	}
	return s.query(ctx, selectMessages+`WHERE room = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, room, before, limit)
}

func (s *store) rooms(ctx context.Context) ([]room, error) {
	rows, err := s.db.QueryContext(ctx, `
		SELECT name, (SELECT sent_at FROM messages WHERE room = rooms.name ORDER BY id DESC LIMIT 1)
		FROM rooms ORDER BY name LIMIT 500`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := []room{}
	for rows.Next() {
		var r room
		if err := rows.Scan(&r.Name, &r.LastSent); err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

// query returns the messages that a statement selects, in the order they were written.
func (s *store) query(ctx context.Context, statement string, arguments ...interface{}) ([]message, error) {
	rows, err := s.db.QueryContext(ctx, statement, arguments...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := []message{}
	for rows.Next() {
		var m message
		if err := rows.Scan(&m.ID, &m.Room, &m.Name, &m.Text, &m.SentAt); err != nil {
			return nil, err
		}
		found = append(found, m)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].ID < found[j].ID })
	return found, rows.Err()
}

func (s *store) byIDs(ctx context.Context, ids []int64) ([]message, error) {
	return s.query(ctx, selectMessages+`WHERE id = ANY($1)`, pq.Array(ids))
}
