// Command chatctl is lan-chat on the command line: to look, to script, to be told.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"lanchat/version"
)

const usage = `chatctl: lan-chat on the command line

usage: chatctl VERB [options]

  ping                 who answers, and in which version
  people               who is connected, and where
  rooms                which rooms there are
  send TEXT…           say something (TEXT "-" reads it from standard input)
  tail                 follow a room until interrupted; reconnects by itself

options:
  --server URL         the front door (default: $LAN_CHAT_SERVER, else http://127.0.0.1:8080)
  --room ROOM          which room (default: lobby)
  --name NAME          who you are (default: $LAN_CHAT_NAME, else $USER)
  --limit N            tail: how many earlier messages to show first (default: 10)
  --json               one JSON object per line on standard output
  --version            print the version

exit codes: 0 done, 1 the server did not answer or refused, 2 wrong usage
`

type options struct {
	server, room, name string
	json               bool
	limit              int
	words              []string
}

func main() {
	if len(os.Args) < 2 || os.Args[1] == "help" || os.Args[1] == "--help" || os.Args[1] == "-h" {
		fmt.Print(usage)
		if len(os.Args) < 2 {
			os.Exit(2)
		}
		return
	}
	if os.Args[1] == "--version" {
		fmt.Println("chatctl " + version.Version)
		return
	}
	verbs := map[string]func(options) error{
		"ping": ping, "people": people, "rooms": rooms, "send": send, "tail": tail,
	}
	verb, known := verbs[os.Args[1]]
	if !known {
		fmt.Fprintf(os.Stderr, "unknown verb %q\nhint: chatctl --help\n", os.Args[1])
		os.Exit(2)
	}
	if err := verb(parse(os.Args[2:])); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// parse takes options before, between and after words.
func parse(arguments []string) options {
	o := options{}
	flags := flag.NewFlagSet("chatctl", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, "hint: chatctl --help\n") }
	flags.StringVar(&o.server, "server", first(os.Getenv("LAN_CHAT_SERVER"), "http://127.0.0.1:8080"), "")
	flags.StringVar(&o.room, "room", "lobby", "")
	flags.StringVar(&o.name, "name", first(os.Getenv("LAN_CHAT_NAME"), os.Getenv("USER"), "chatctl"), "")
	flags.BoolVar(&o.json, "json", false, "")
	flags.IntVar(&o.limit, "limit", 10, "")
	for {
		if flags.Parse(arguments) != nil {
			os.Exit(2)
		}
		read := len(arguments) - flags.NArg()
		if read > 0 && arguments[read-1] == "--" {
			o.words = append(o.words, flags.Args()...)
			break
		}
		arguments = flags.Args()
		if len(arguments) == 0 {
			break
		}
		o.words = append(o.words, arguments[0])
		arguments = arguments[1:]
	}
	o.server = strings.TrimRight(o.server, "/")
	return o
}

func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
