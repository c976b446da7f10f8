// Package version holds the version that every answer of lan-chat carries.
package version

// Version is set by the linker (-X lanchat/version.Version=…).
var Version = "0.0.0-dev"
