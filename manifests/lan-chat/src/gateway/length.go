//go:build !since_2_1_1

package main

func textLength(text string) int { return len(text) }
