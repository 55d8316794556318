// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package slot

import (
	"errors"
	"fmt"
)

// Next returns the slot that the boot loader would start: the one with the highest priority above zero
// among those with tries left or marked successful, A on a tie. It returns ErrNoBootableSlot if there is none.
func (t *Table) Next() (Slot, error) { return t.next(nil) }

// next leaves out the slots in skip.
func (v view) next(skip map[Slot]bool) (Slot, error) {
	var best Slot
	var priority uint8
	for i := range v.sets {
		s := Slot(i)
		if f := v.flags(s); !skip[s] && f.bootable() && f.Priority > priority {
			best, priority = s, f.Priority
		}
	}
	if priority == 0 {
		return 0, ErrNoBootableSlot
	}
	return best, nil
}

// Boot acts as the boot loader: it picks a slot as Next does, spends one of its tries if it has any, puts
// that on the disk (repairing a damaged copy of the table), and only then returns the slot to start.
func (t *Table) Boot() (Slot, error) {
	return t.BootIf(func(Slot) error { return nil })
}

// BootIf is Boot for a boot loader that looks before it leaps: check is asked about each slot in turn, in
// the order of preference, and the first one without an error is booted. A slot for which check returns
// an error that wraps ErrDamagedImage loses its tries for good, in the same write. Any other error (a
// disk that could not be read, say) only passes the slot over this once. When no slot is left the error
// wraps ErrNoBootableSlot and what check returned, and nothing is written.
func (t *Table) BootIf(check func(Slot) error) (Slot, error) {
	const doing = "choosing a slot to boot"
	v, err := readView(t.disk, t.size)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	set, skip := map[Slot]Flags{}, map[Slot]bool{}
	var faults []error
	for {
		s, err := v.next(skip)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", doing, errors.Join(append([]error{err}, faults...)...))
		}
		f := v.flags(s)
		if err := check(s); err != nil {
			faults = append(faults, fmt.Errorf("slot %v: %w", s, err))
			skip[s] = true
			if errors.Is(err, ErrDamagedImage) {
				f.Tries = 0
				set[s] = f
			}
			continue
		}
		if f.Tries > 0 {
			f.Tries--
			set[s] = f
		}
		if err := t.write(v, set, nil); err != nil {
			return 0, fmt.Errorf("%s: %w", doing, err)
		}
		return s, nil
	}
}
