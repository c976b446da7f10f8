// Prints what Helm itself finds in a chart, a folder or an archive: name, version, and each file with its size.
package main

import (
	"fmt"
	"os"
	"sort"

	"helm.sh/helm/v3/pkg/chart/loader"
)

func main() {
	chart, err := loader.Load(os.Args[1])
	if err == nil {
		err = chart.Validate()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(chart.Metadata.Name, chart.Metadata.Version, len(chart.Dependencies()))
	lines := []string{}
	for _, file := range chart.Raw {
		lines = append(lines, fmt.Sprintf("%s %d", file.Name, len(file.Data)))
	}
	sort.Strings(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
}
