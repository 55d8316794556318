// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// MaxSeed is the greatest seed. Hosts draw theirs from 0 to MaxSeed-1; MaxSeed itself is legal.
const MaxSeed = 2048

// Waves spreads a release over time: each key is a seed, its value the instant at which hosts with that seed may
// move. Between two keys the instants lie evenly spread. No waves means that every host may move at once.
type Waves map[uint32]time.Time

// ReadyAt returns the instant from which a host with this seed may take the update; the zero time means always.
//
// A seed between two keys is released in proportion to its distance from the lower key. (The original multiplies by
// the seed itself, so that in all waves but the first most hosts wait for the end of the wave and then move
// together.) Seeds below the first key are free at once, as in the original; a seed equal to the first key waits
// for that key's instant, so that no host moves before the release starts. Seeds beyond MaxSeed count as MaxSeed.
func (w Waves) ReadyAt(seed uint32) time.Time {
	seed = min(seed, MaxSeed)
	if at, ok := w[seed]; ok {
		return at
	}
	keys := slices.Sorted(maps.Keys(w))
	next, _ := slices.BinarySearch(keys, seed)
	if next == 0 {
		return time.Time{}
	}
	startKey := keys[next-1]
	start := w[startKey]
	if next == len(keys) || keys[next] > MaxSeed {
		return start
	}
	// Divide first: a long wave times a great seed would leave the range of a Duration.
	perSeed := w[keys[next]].Sub(start) / time.Duration(keys[next]-startKey)
	return start.Add(perSeed * time.Duration(seed-startKey))
}

// Ready reports whether a host with this seed may take the update at now.
func (w Waves) Ready(seed uint32, now time.Time) bool { return !now.Before(w.ReadyAt(seed)) }

// check tells whether the instants rise with the keys.
func (w Waves) check() error {
	keys := slices.Sorted(maps.Keys(w))
	for i := 1; i < len(keys); i++ {
		if !w[keys[i-1]].Before(w[keys[i]]) {
			return fmt.Errorf("wave %d starts at %s, not after wave %d (%s)", keys[i],
				w[keys[i]].Format(time.RFC3339), keys[i-1], w[keys[i-1]].Format(time.RFC3339))
		}
	}
	return nil
}

func parseWaves(data []byte) (Waves, error) {
	o, err := parseObject(data)
	if err != nil {
		return nil, err
	}
	w := Waves{}
	for _, key := range o.keys {
		n, err := strconv.ParseUint(key, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("key %q is not a number", key)
		}
		if _, twice := w[uint32(n)]; twice {
			return nil, fmt.Errorf("duplicate key %d", n)
		}
		var text string
		if err := json.Unmarshal(o.fields[key], &text); err != nil {
			return nil, fmt.Errorf("key %s: want a time", key)
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil || at.IsZero() {
			return nil, fmt.Errorf("key %s: %q is not a time as in RFC 3339", key, text)
		}
		if y := at.UTC().Year(); y < 1 || y > 9999 {
			return nil, fmt.Errorf("key %s: %q is outside the years 1 to 9999", key, text)
		}
		w[uint32(n)] = at.UTC()
	}
	return w, nil
}

// json prints the waves with their keys in the order of numbers.
func (w Waves) json() []byte {
	var o objectWriter
	for _, key := range slices.Sorted(maps.Keys(w)) {
		value, _ := json.Marshal(w[key].UTC().Format(time.RFC3339Nano)) // a string always has a JSON form
		o.add(strconv.FormatUint(uint64(key), 10), value)
	}
	return o.bytes()
}

// errNoWaves means that a wave policy lists nothing.
var errNoWaves = errors.New("no waves")
