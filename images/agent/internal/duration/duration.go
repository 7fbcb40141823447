// Package duration parses durations like 2h30m.
//
// Invariant: a duration is whole days, hours, minutes and seconds, in that order, more than zero in total, as in
// core/devservers_core/duration.py; testdata/durations.json holds the cases that both tests read.
package duration

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const hint = "use days, hours, minutes and seconds like 2h30m or 1d, more than zero"

var (
	pattern = regexp.MustCompile(`^(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,8})m)?(?:([0-9]{1,9})s)?$`)
	units   = []struct {
		letter  string
		seconds int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}
)

// Parse is the duration in seconds.
func Parse(text string) (int64, error) {
	match := pattern.FindStringSubmatch(text)
	var total int64
	if match != nil {
		for i, unit := range units {
			if match[i+1] != "" {
				number, _ := strconv.ParseInt(match[i+1], 10, 64) // at most nine digits
				total += number * unit.seconds
			}
		}
	}
	if total <= 0 {
		return 0, fmt.Errorf("%q is not a duration; %s", text, hint)
	}
	return total, nil
}

// Format writes seconds as a person reads them: the two largest units, rounded up to whole minutes.
func Format(seconds int64) string {
	if seconds < 60 {
		return fmt.Sprintf("%ds", max(0, seconds))
	}
	seconds = (seconds + 59) / 60 * 60
	var parts []string
	for _, unit := range units[:3] {
		if number := seconds / unit.seconds; number > 0 && len(parts) < 2 {
			parts = append(parts, fmt.Sprintf("%d%s", number, unit.letter))
			seconds -= number * unit.seconds
		} else if len(parts) > 0 {
			break
		}
	}
	return strings.Join(parts, "")
}
