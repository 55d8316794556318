// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Policy is a way to release: which share of the fleet may move how long after the release.
type Policy []PolicyWave

// PolicyWave lets FleetPercentage of all hosts (counted from the start) move between its StartAfter and that of the
// next wave.
type PolicyWave struct {
	StartAfter      time.Duration
	FleetPercentage int // 1 to 100, cumulative
}

// ParsePolicy reads a wave policy in TOML:
//
//	[[waves]]
//	start_after = "1 hour"
//	fleet_percentage = 5
//
// start_after counts minutes, hours, days or weeks.
func ParsePolicy(data []byte) (Policy, error) {
	var file struct {
		Waves []struct {
			StartAfter      string `toml:"start_after"`
			FleetPercentage int    `toml:"fleet_percentage"`
		} `toml:"waves"`
	}
	if err := toml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("reading wave policy: %w", err)
	}
	if len(file.Waves) == 0 {
		return nil, fmt.Errorf("reading wave policy: %w", errNoWaves)
	}
	var p Policy
	for i, w := range file.Waves {
		after, err := parseOffset(w.StartAfter)
		if err != nil {
			return nil, fmt.Errorf("reading wave policy: wave %d: %w", i+1, err)
		}
		if w.FleetPercentage < 1 || w.FleetPercentage > 100 {
			return nil, fmt.Errorf("reading wave policy: wave %d: fleet_percentage %d is not between 1 and 100",
				i+1, w.FleetPercentage)
		}
		p = append(p, PolicyWave{after, w.FleetPercentage})
	}
	return p, nil
}

// parseOffset reads "[in] N unit".
func parseOffset(s string) (time.Duration, error) {
	fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(s), "in "))
	units := map[string]time.Duration{
		"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
	}
	if len(fields) == 2 {
		n, err := strconv.ParseUint(fields[0], 10, 16)
		if unit, ok := units[strings.TrimSuffix(fields[1], "s")]; ok && err == nil {
			return time.Duration(n) * unit, nil
		}
	}
	return 0, fmt.Errorf("start_after %q is not of the form \"3 hours\" (minutes, hours, days, weeks)", s)
}

// Waves gives the policy dates: the first wave gets seed 0, each further one the seed up to which the wave before it
// reaches. Seeds are counted as the original counts them, in 32-bit floating point.
func (p Policy) Waves(start time.Time) (Waves, error) {
	w := Waves{}
	seed := uint32(0)
	for i, wave := range p {
		if i > 0 {
			share := float32(p[i-1].FleetPercentage) / 100
			seed = uint32(math.Trunc(float64(share * MaxSeed)))
			if _, twice := w[seed]; twice {
				return nil, fmt.Errorf("wave %d adds no hosts to wave %d", i, i-1)
			}
		}
		w[seed] = start.Add(wave.StartAfter).UTC()
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	return w, nil
}
