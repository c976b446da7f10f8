// Command store-init is the first process of the store: it makes the database where none is, sets its password to the
// one in the secret, and becomes postgres. The password is never an argument and never in the environment.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"lanchat/jsonlog"
)

const (
	binaries = "/usr/lib/postgresql/15/bin/"
	share    = "/usr/share/postgresql/15"
	socket   = "/tmp"
	// Local connections have to be of the uid that runs the store; everybody else proves the password.
	access = `local all postgres peer
host lanchat lanchat all scram-sha-256
`
)

func main() {
	log := jsonlog.New("store")
	data := env("PGDATA", "/var/lib/postgresql/data/15")
	password, err := readPassword(env("STORE_PASSWORD_FILE", "/run/secrets/db"))
	if err == nil {
		err = prepare(log, data, password)
	}
	if err == nil {
		err = become(data)
	}
	log.Error("store can't start", "error", err)
	os.Exit(1)
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func readPassword(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("password can't be read: %w", err)
	}
	password := strings.TrimRight(string(content), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n\x00") {
		return "", errors.New("password is empty or has more than one line")
	}
	return password, nil
}

// prepare makes the database under another name first: one that was not finished is thrown away and made again.
func prepare(log *jsonlog.Logger, data, password string) error {
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		return configure(data, "ALTER ROLE lanchat LOGIN PASSWORD "+quote(password))
	}
	unfinished := data + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("unfinished database can't be removed: %w", err)
	}
	log.Info("making the database", "path", data)
	made := exec.Command(binaries+"initdb", "--pgdata", unfinished, "-L", share, "--username=postgres",
		"--auth-local=peer", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
		"--no-instructions")
	if output, err := made.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb failed: %w: %s", err, lastLines(output))
	}
	err := configure(unfinished,
		"CREATE ROLE lanchat LOGIN PASSWORD "+quote(password),
		"CREATE DATABASE lanchat OWNER lanchat",
		"REVOKE CONNECT ON DATABASE lanchat FROM PUBLIC")
	if err != nil {
		return err
	}
	return os.Rename(unfinished, data)
}

// configure runs statements as superuser while nobody else can connect. They go in by a pipe.
func configure(data string, statements ...string) error {
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(access), 0o600); err != nil {
		return fmt.Errorf("access rules can't be written: %w", err)
	}
	single := exec.Command(binaries+"postgres", "--single", "-D", data, "-c", "log_min_error_statement=panic",
		"-c", "password_encryption=scram-sha-256", "postgres")
	single.Stdin = strings.NewReader(strings.Join(statements, "\n") + "\n")
	output, err := single.CombinedOutput()
	if err != nil || bytes.Contains(output, []byte("ERROR:")) {
		return fmt.Errorf("database can't be prepared: %v: %s", err, lastLines(output))
	}
	return nil
}

func quote(text string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func lastLines(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	if len(lines) > 5 {
		lines = lines[len(lines)-5:]
	}
	return strings.Join(lines, "; ")
}

func become(data string) error {
	arguments := []string{
		"postgres", "-D", data,
		"-c", "listen_addresses=*",
		"-c", "unix_socket_directories=" + socket,
		"-c", "password_encryption=scram-sha-256",
		"-c", "jit=off",
		"-c", "shared_buffers=64MB",
		"-c", "log_timezone=UTC",
	}
	arguments = append(arguments, os.Args[1:]...)
	return syscall.Exec(binaries+"postgres", arguments, os.Environ())
}
