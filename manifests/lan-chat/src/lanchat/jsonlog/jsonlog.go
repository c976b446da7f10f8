// Package jsonlog writes one JSON object per line to standard output.
package jsonlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"lanchat/version"
)

// Logger writes lines for one service. It is safe for concurrent use.
type Logger struct {
	service string
	mu      sync.Mutex
	out     io.Writer
}

// New returns a logger that names service in every line.
func New(service string) *Logger {
	return &Logger{service: service, out: os.Stdout}
}

// Info logs what is worth knowing; pairs are key, value, key, value.
func (l *Logger) Info(message string, pairs ...interface{}) { l.write("info", message, pairs) }

// Warn logs what may need somebody's eye.
func (l *Logger) Warn(message string, pairs ...interface{}) { l.write("warn", message, pairs) }

// Error logs what went wrong.
func (l *Logger) Error(message string, pairs ...interface{}) { l.write("error", message, pairs) }

func (l *Logger) write(level, message string, pairs []interface{}) {
	var line bytes.Buffer
	line.WriteByte('{')
	field(&line, "time", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	field(&line, "level", level)
	field(&line, "service", l.service)
	field(&line, "version", version.Version)
	field(&line, "msg", message)
	for i := 0; i+1 < len(pairs); i += 2 {
		field(&line, fmt.Sprint(pairs[i]), pairs[i+1])
	}
	line.WriteString("}\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.out.Write(line.Bytes())
}

func field(line *bytes.Buffer, key string, value interface{}) {
	switch v := value.(type) {
	case error:
		value = v.Error()
	case time.Duration:
		value = v.Seconds()
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		encoded, _ = json.Marshal(fmt.Sprint(value))
	}
	if line.Len() > 1 {
		line.WriteByte(',')
	}
	name, _ := json.Marshal(key)
	line.Write(name)
	line.WriteByte(':')
	line.Write(encoded)
}
