// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limit is how many nodes may be updated at the same time: a number, where zero starts nothing, or a share of
// the opted-in nodes, which is kept as a negative number of percent.
type Limit int

// Unlimited starts every node that is ready, save one that stays for the pods of the others.
const Unlimited Limit = math.MaxInt

// Percent is the limit of that share of the opted-in nodes, from 1 to 100: rounded down, but at least one node.
func Percent(share int) Limit { return -Limit(min(max(share, 1), 100)) }

// ParseLimit reads a limit: a whole number from 0, a percentage from 1% to 100%, or "unlimited" in any letter
// case.
func ParseLimit(s string) (Limit, error) {
	if strings.EqualFold(s, "unlimited") {
		return Unlimited, nil
	}
	if share, ok := strings.CutSuffix(s, "%"); ok {
		n, err := strconv.ParseUint(share, 10, 7)
		if err != nil || n < 1 || n > 100 {
			return 0, fmt.Errorf("%q is not a percentage from 1%% to 100%%", s)
		}
		return Percent(int(n)), nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a whole number from 0 to %d nor a percentage nor \"unlimited\"", s, math.MaxInt32)
	}
	return Limit(n), nil
}

// Valid is whether the limit is one that ParseLimit can return.
func (l Limit) Valid() bool { return l >= -100 }

// String prints what ParseLimit reads.
func (l Limit) String() string {
	switch {
	case l == Unlimited:
		return "unlimited"
	case l < 0:
		return strconv.Itoa(int(-l)) + "%"
	default:
		return strconv.Itoa(int(l))
	}
}

// of is the limit as a number, for these nodes. Without a limit, one of several nodes stays all the same: with all
// of them cordoned at once, evicted pods would have nowhere to go, and the budgets that wait for them would hold
// up every drain.
func (l Limit) of(nodes []Node) Limit {
	if l == Unlimited {
		return Limit(max(1, len(nodes)-1))
	}
	if l >= 0 {
		return l
	}
	optedIn := 0
	for i := range nodes {
		optedIn += count(nodes[i].OptedIn)
	}
	return max(1, Limit(optedIn)*-l/100)
}
