//go:build since_2_1_1

package main

import "unicode/utf8"

// Since 2.1.1 the limit counts characters: before, an umlaut counted twice.
func textLength(text string) int { return utf8.RuneCountInString(text) }
