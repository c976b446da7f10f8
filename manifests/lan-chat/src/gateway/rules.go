package main

import (
	"regexp"
	"strings"
	"unicode"
)

const (
	maxText  = 2000
	nameRule = "a letter or digit, then up to 31 more, also . _ -"
	roomRule = "a small letter or digit, then up to 31 more, also -"
)

var (
	namePattern = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N}._-]{0,31}$`)
	roomPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
)

// badInput is an error whose text may be shown to whoever sent the input.
type badInput string

func (b badInput) Error() string { return string(b) }

func validName(name string) bool { return namePattern.MatchString(name) }

func validRoom(room string) bool { return roomPattern.MatchString(room) }

// cleanText drops control characters other than line ends, and refuses what is empty or too long.
func cleanText(text string) (string, error) {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || r == unicode.ReplacementChar) {
			return -1
		}
		return r
	}, text))
	if text == "" {
		return "", badInput("message is empty")
	}
	if textLength(text) > maxText {
		return "", badInput("message is longer than 2000 characters")
	}
	return text, nil
}
