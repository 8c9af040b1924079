package kernel

import (
	"fmt"
	"slices"
	"time"
)

// figure prints one line of a benchmark; bound is at-least, at-most or info.
func figure(name string, value float64, unit, bound string, bar float64) {
	text, verdict := "-", "ok"
	if bound != "info" {
		text = fmt.Sprint(bar)
		if bound == "at-least" && value < bar || bound == "at-most" && value > bar {
			verdict = "short"
		}
	}
	fmt.Printf("\nbench gateway/%s %.3g %s %s %s %s\n", name, value, unit, bound, text, verdict)
}

// of is the value below which that share of list lies.
func of[T any](list []T, share float64, less func(a, b T) int) T {
	list = slices.Clone(list)
	slices.SortFunc(list, less)
	return list[min(len(list)-1, int(share*float64(len(list))))]
}

func quantile(list []time.Duration, share float64) time.Duration {
	return of(list, share, func(a, b time.Duration) int { return int(a - b) })
}
