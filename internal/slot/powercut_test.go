// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package slot

import (
	"errors"
	"fmt"
	"testing"

	"github.com/drydock-os/drydock/internal/testutil/fakedisk"
)

// content says what a slot's partitions hold, which the flags must never get wrong.
type content int

const (
	good    content = iota // proved itself
	partial                // being written: must not be started
	fresh                  // complete and verified, not yet started
)

// machine is a disk in the middle of its life, and what really is in its slots.
type machine struct {
	disk     *fakedisk.Disk
	contents [2]content
}

// mustBoot is the judge. From the given state on, the boot loader must start something complete; a new
// system that never proves itself must make way for a good one at the next boot; and the judge cuts the
// power during these boots, too, until depth is used up.
func (m machine) mustBoot(disk *fakedisk.Disk, depth int) error {
	for range 3 { // a bad new system gets one try, one more if the power was cut before the try was spent
		table, err := Open(disk, disk.Size())
		if err != nil {
			return err
		}
		var inner error
		if depth > 0 {
			disk.Watch(func() {
				for state, s := range disk.Survivors() {
					if err := m.mustBoot(s, depth-1); err != nil && inner == nil {
						inner = fmt.Errorf("second cut, %s: %w", state, err)
					}
				}
			})
		}
		s, err := table.Boot()
		disk.Watch(nil)
		if err != nil || inner != nil {
			return errors.Join(err, inner)
		}
		switch m.contents[s] {
		case good:
			return nil
		case partial:
			return fmt.Errorf("slot %v was started half-written", s)
		}
	}
	return errors.New("a system that never proves itself is started again and again")
}

// damage is done to the partition table before a step, as a failing disk might.
var damages = map[string]func(*fakedisk.Disk) error{
	"sound disk":              func(*fakedisk.Disk) error { return nil },
	"primary header damaged":  func(d *fakedisk.Disk) error { return scribble(d, 512) },
	"primary entries damaged": func(d *fakedisk.Disk) error { return scribble(d, 1024+48) },
	"backup header damaged":   func(d *fakedisk.Disk) error { return scribble(d, d.Size()-512) },
	"backup entries damaged":  func(d *fakedisk.Disk) error { return scribble(d, d.Size()-33*512+48) },
}

func scribble(d *fakedisk.Disk, at int64) error {
	_, err := d.WriteAt([]byte{0xa5, 0x5a, 0xa5}, at)
	return errors.Join(err, d.Sync())
}

// The power is cut after each write and each sync of a whole update life, the unsynced writes survive in
// every way that fakedisk knows, and one copy of the table is damaged before any step: something good
// must boot every time.
func TestPowerCutAtAnyInstantLeavesAGoodSlotBootable(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cuts := 0
			m := &machine{disk: newDisk(t, f(1, 0, 1), f(0, 0, 0)), contents: [2]content{good, partial}}
			table := open(t, m.disk)
			active := A

			// step runs one call. Until it is over, the content that
			// was there before it counts: that is the more careful view.
			step := func(doing string, call func(Slot) error) {
				t.Helper()
				if err := damage(m.disk); err != nil {
					t.Fatal(err)
				}
				m.disk.Watch(func() {
					for state, s := range m.disk.Survivors() {
						cuts++
						if err := m.mustBoot(s, 0); err != nil {
							t.Fatalf("%s, cut after write %d, %s: %v", doing, m.disk.Writes(), state, err)
						}
					}
				})
				defer m.disk.Watch(nil)
				if err := call(active); err != nil {
					t.Fatalf("%s: %v", doing, err)
				}
			}
			boot := func(want Slot) func(Slot) error {
				return func(Slot) error {
					s, err := table.Boot()
					if err == nil && s != want {
						err = fmt.Errorf("slot %v booted, want %v", s, want)
					}
					active = s
					return err
				}
			}
			stage := func() {
				t.Helper()
				step("clear", table.ClearInactive)
				m.contents[active.Other()] = partial
				step("clear again, as a retry does", table.ClearInactive)
				m.contents[active.Other()] = fresh // the image is written, read back and synced
				step("mark valid", table.MarkInactiveValid)
			}

			step("first boot", boot(A))
			step("first mark", table.MarkSuccessful)
			for range 2 { // A to B, and with the roles changed, B to A
				stage()
				step("upgrade", table.UpgradeToInactive)
				step("cancel", table.CancelUpgrade)
				step("upgrade again", table.UpgradeToInactive)
				step("boot the new system, which fails", boot(active.Other()))
				step("fall back", boot(active.Other()))
				stage()
				step("upgrade", table.UpgradeToInactive)
				step("boot the new system", boot(active.Other()))
				m.contents[active] = good // it has proved itself, so it may be marked
				step("mark successful", table.MarkSuccessful)
				step("roll back", table.RollbackToInactive)
				step("boot the old system", boot(active.Other()))
				step("roll forward", table.RollbackToInactive)
				step("boot the new system", boot(active.Other()))
				step("rewrite", func(Slot) error { return table.Rewrite() })
			}
			if cuts < 500 {
				t.Errorf("only %d states tried", cuts)
			}
		})
	}
}

// The boot after a power cut may itself be cut, while it repairs the table.
func TestPowerCutDuringTheBootAfterAPowerCut(t *testing.T) {
	d := newDisk(t, f(1, 0, 1), f(0, 1, 0))
	m := machine{disk: d, contents: [2]content{good, fresh}}
	table := open(t, d)
	d.Watch(func() {
		for state, s := range d.Survivors() {
			if err := m.mustBoot(s, 1); err != nil {
				t.Fatalf("%s: %v", state, err)
			}
		}
	})
	if err := table.UpgradeToInactive(A); err != nil {
		t.Fatal(err)
	}
}

// A call that the power cut interrupts must say so, and its Table must go on showing what it knew.
func TestInterruptedCallsReportIt(t *testing.T) {
	for n := range 4 { // two copies, two writes each
		d := newDisk(t, f(1, 0, 1), f(0, 1, 0))
		table := open(t, d)
		d.CutPowerAfter(n)
		if err := table.UpgradeToInactive(A); !errors.Is(err, fakedisk.ErrPowerCut) {
			t.Errorf("cut after %d writes: %v", n, err)
		}
		if got := table.Flags(B); got != f(0, 1, 0) {
			t.Errorf("cut after %d writes: flags %+v", n, got)
		}
	}
}
