// Package settings reads the JSON configuration of a service and the password file beside it.
package settings

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// SchemaLock is the advisory lock that whoever changes the schema holds, so that services of two colours starting at
// the same moment take turns.
const SchemaLock = 4203291

// Database says where the store is. The password comes from a file and is read when it is needed.
type Database struct {
	Host         string `json:"host"`
	Port         int    `json:"port"`
	Name         string `json:"name"`
	User         string `json:"user"`
	PasswordFile string `json:"password_file"`
}

// Read fills into from the JSON file at path. Keys that it does not know are ignored, so that one file can serve the
// release before and the release after.
func Read(path string, into interface{}) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration can't be read: %w", err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("configuration %s is not valid: %w", path, err)
	}
	return nil
}

// DSN returns the address of the database for lib/pq, with its password.
func (d Database) DSN() (string, error) {
	password, err := os.ReadFile(d.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password of the store can't be read: %w", err)
	}
	address := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(d.User, strings.TrimRight(string(password), "\r\n")),
		Host:   fmt.Sprintf("%s:%d", d.Host, d.Port),
		Path:   "/" + d.Name,
		// The store stands on a bridge of its own on the same host; it has no certificate.
		RawQuery: url.Values{"sslmode": {"disable"}, "connect_timeout": {"5"}}.Encode(),
	}
	return address.String(), nil
}
