// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package slot

import "fmt"

// change reads the disk afresh, lets edit decide on new flags, and writes the table once if anything
// changed or one of its copies is damaged. The Table shows the new state only after it is on the disk.
func (t *Table) change(doing string, active Slot, edit func(v view, active, inactive *Flags) error) error {
	v, err := readView(t.disk, t.size)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if int(active) >= len(v.sets) {
		return fmt.Errorf("%s: running slot %v: %w", doing, active, ErrUnknownSlot)
	}
	a, i := v.flags(active), v.flags(active.Other())
	if err := edit(v, &a, &i); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	set := map[Slot]Flags{active: a}
	if len(v.sets) == 2 {
		set[active.Other()] = i
	}
	if err := t.write(v, set, nil); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// write puts flags (and, if not nil, the attributes of the PRIVATE partition) on the disk, at most once.
func (t *Table) write(v view, set map[Slot]Flags, private *uint64) error {
	changed := false
	attribute := func(number int, before, after uint64) error {
		changed = changed || before != after
		return v.gpt.SetAttributes(number, after)
	}
	for s, f := range set {
		p := v.partition(s, Boot)
		if err := attribute(p.Number, p.Attributes, f.Attributes(p.Attributes)); err != nil {
			return err
		}
	}
	if private != nil {
		if err := attribute(v.private.Number, v.private.Attributes, *private); err != nil {
			return err
		}
	}
	if changed || v.gpt.Fault() != nil {
		if err := v.gpt.Write(t.disk); err != nil {
			return err
		}
	}
	return t.Reload()
}

// needsInactive wraps the calls that make sense only with two slots.
func needsInactive(edit func(active, inactive *Flags) error) func(view, *Flags, *Flags) error {
	return func(v view, active, inactive *Flags) error {
		if len(v.sets) < 2 {
			return ErrSingleSet
		}
		return edit(active, inactive)
	}
}

// ClearInactive takes every boot flag from the inactive slot: from now on its partitions may be written.
// It returns ErrActiveNotGood, and changes nothing, unless the boot loader would start the active slot
// again on the strength of having been successful.
func (t *Table) ClearInactive(active Slot) error {
	return t.change("clearing the inactive slot", active, needsInactive(func(a, i *Flags) error {
		if !a.Successful || a.Priority == 0 {
			return ErrActiveNotGood
		}
		*i = Flags{}
		return nil
	}))
}

// MarkInactiveValid says that the inactive slot holds a complete, verified image, by giving it one try.
// It still does not boot, since ClearInactive left it without a priority.
func (t *Table) MarkInactiveValid(active Slot) error {
	return t.change("marking the inactive slot valid", active, needsInactive(func(_, i *Flags) error {
		i.Tries = 1
		return nil
	}))
}

// UpgradeToInactive makes the inactive slot the one to boot next. It returns ErrAlreadyMarked if the
// inactive slot was not cleared first, ErrNotValid if it was not marked valid, and ErrActiveNotGood if
// there would be nothing good to fall back to.
func (t *Table) UpgradeToInactive(active Slot) error {
	return t.change("upgrading to the inactive slot", active, needsInactive(func(a, i *Flags) error {
		switch {
		case i.Priority > 0 || i.Successful:
			return ErrAlreadyMarked
		case i.Tries == 0:
			return ErrNotValid
		case !a.Successful:
			return ErrActiveNotGood
		}
		i.Priority, i.Successful = 2, false
		a.Priority = 1
		return nil
	}))
}

// CancelUpgrade undoes UpgradeToInactive. The image stays valid and can be activated again. It returns
// ErrActiveNotGood if the active slot could not boot again.
func (t *Table) CancelUpgrade(active Slot) error {
	return t.change("cancelling the upgrade", active, needsInactive(func(a, i *Flags) error {
		if !a.Successful {
			return ErrActiveNotGood
		}
		i.Priority = 0
		a.Priority = 2
		return nil
	}))
}

// RollbackToInactive makes the inactive slot boot next if it can; else it returns ErrNotBootable. What
// either slot has proved stays as it is.
func (t *Table) RollbackToInactive(active Slot) error {
	return t.change("rolling back to the inactive slot", active, needsInactive(func(a, i *Flags) error {
		if !i.WillBoot() {
			return ErrNotBootable
		}
		i.Priority = 2
		a.Priority = 1
		return nil
	}))
}

// MarkSuccessful says that the running system has proved itself, and remembers on the PRIVATE partition,
// if there is one, that some system on this disk has.
func (t *Table) MarkSuccessful(active Slot) error {
	const doing = "marking the running slot successful"
	v, err := readView(t.disk, t.size)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if int(active) >= len(v.sets) {
		return fmt.Errorf("%s: running slot %v: %w", doing, active, ErrUnknownSlot)
	}
	f := v.flags(active)
	f.Successful = true
	var private *uint64
	if v.private != nil {
		private = new(v.private.Attributes | 1<<everBootedBit)
	}
	if err := t.write(v, map[Slot]Flags{active: f}, private); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// Rewrite writes both copies of the partition table back unchanged, which repairs a damaged one.
func (t *Table) Rewrite() error {
	const doing = "rewriting the partition table"
	v, err := readView(t.disk, t.size)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := v.gpt.Write(t.disk); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return t.Reload()
}
