// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package slot

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/testutil/fakedisk"
)

const mib = 1 << 20

func guid(n int) gpt.GUID { return gpt.GUID{0: byte(n), 15: 0xd0} }

// parts lays out the given number of sets, plus PRIVATE, on a disk of 16 MiB.
func parts(sets int, flags ...Flags) []gpt.NewPartition {
	var out []gpt.NewPartition
	add := func(t gpt.GUID, name string, attributes uint64) {
		n := len(out) + 1
		out = append(out, gpt.NewPartition{Type: t, UUID: guid(n), Name: name, Offset: int64(n) * mib, Size: mib, Attributes: attributes})
	}
	for i := range sets {
		add(TypeBoot, fmt.Sprint("boot ", i), flags[i].Attributes(1<<2|1<<60)) // foreign bits that must stay
		add(TypeRoot, fmt.Sprint("root ", i), 0)
		add(TypeHash, fmt.Sprint("hash ", i), 0)
		add(TypeReserved, fmt.Sprint("reserved ", i), 0)
	}
	add(TypePrivate, "private", 1<<63)
	return out
}

func newDisk(t testing.TB, a, b Flags) *fakedisk.Disk {
	t.Helper()
	d := fakedisk.New(16 * mib)
	if _, err := gpt.Create(d, d.Size(), parts(2, a, b)); err != nil {
		t.Fatal(err)
	}
	return d
}

func open(t testing.TB, d *fakedisk.Disk) *Table {
	t.Helper()
	table, err := Open(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// f writes flags as in the tables of the documentation: priority, tries, successful.
func f(priority, tries, successful uint8) Flags {
	return Flags{Priority: priority, Tries: tries, Successful: successful == 1}
}

// The life of an update, step by step, with the flags of both slots after each.
func TestLifeOfAnUpdate(t *testing.T) {
	d := newDisk(t, f(1, 0, 1), f(0, 0, 0))
	table := open(t, d)
	boot := func(want Slot) func(Slot) error {
		return func(Slot) error {
			got, err := table.Boot()
			if err == nil && got != want {
				err = fmt.Errorf("slot %v booted, want %v", got, want)
			}
			return err
		}
	}
	steps := []struct {
		name   string
		do     func(Slot) error
		active Slot
		a, b   Flags
	}{
		{"boot the fresh disk", boot(A), A, f(1, 0, 1), f(0, 0, 0)},
		{"clear", table.ClearInactive, A, f(1, 0, 1), f(0, 0, 0)},
		{"valid", table.MarkInactiveValid, A, f(1, 0, 1), f(0, 1, 0)},
		{"upgrade", table.UpgradeToInactive, A, f(1, 0, 1), f(2, 1, 0)},
		{"cancel", table.CancelUpgrade, A, f(2, 0, 1), f(0, 1, 0)},
		{"upgrade again", table.UpgradeToInactive, A, f(1, 0, 1), f(2, 1, 0)},
		{"boot the new system", boot(B), B, f(1, 0, 1), f(2, 0, 0)},
		{"it fails, boot the old one", boot(A), A, f(1, 0, 1), f(2, 0, 0)},
		{"clear the failed one", table.ClearInactive, A, f(1, 0, 1), f(0, 0, 0)},
		{"valid", table.MarkInactiveValid, A, f(1, 0, 1), f(0, 1, 0)},
		{"upgrade", table.UpgradeToInactive, A, f(1, 0, 1), f(2, 1, 0)},
		{"boot the new system", boot(B), B, f(1, 0, 1), f(2, 0, 0)},
		{"mark it successful", table.MarkSuccessful, B, f(1, 0, 1), f(2, 0, 1)},
		{"boot it again", boot(B), B, f(1, 0, 1), f(2, 0, 1)},
		{"roll back", table.RollbackToInactive, B, f(2, 0, 1), f(1, 0, 1)},
		{"boot the old one", boot(A), A, f(2, 0, 1), f(1, 0, 1)},
		{"clear the new one", table.ClearInactive, A, f(2, 0, 1), f(0, 0, 0)},
	}
	for _, step := range steps {
		if err := step.do(step.active); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for _, view := range []*Table{table, open(t, d.Crash())} {
			if diff := cmp.Diff([]Flags{step.a, step.b}, []Flags{view.Flags(A), view.Flags(B)}); diff != "" {
				t.Fatalf("%s:\n%s", step.name, diff)
			}
		}
		if bits := table.Partition(B, Boot).Attributes &^ (0x1ff << 48); bits != 1<<2|1<<60 {
			t.Fatalf("%s: foreign attribute bits are now %#x", step.name, bits)
		}
	}
	if !table.HasEverSucceeded() || table.private.Attributes>>63 != 1 {
		t.Errorf("attributes of PRIVATE are %#x", table.private.Attributes)
	}
}

func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		a, b Flags
		do   func(*Table, Slot) error
		want error
	}{
		"clear the only good slot":           {f(2, 0, 0), f(1, 0, 1), (*Table).ClearInactive, ErrActiveNotGood},
		"clear, active would not boot":       {f(0, 0, 1), f(1, 0, 1), (*Table).ClearInactive, ErrActiveNotGood},
		"upgrade without clear":              {f(1, 0, 1), f(2, 1, 0), (*Table).UpgradeToInactive, ErrAlreadyMarked},
		"upgrade over a successful one":      {f(2, 0, 1), f(0, 1, 1), (*Table).UpgradeToInactive, ErrAlreadyMarked},
		"upgrade to nothing":                 {f(1, 0, 1), f(0, 0, 0), (*Table).UpgradeToInactive, ErrNotValid},
		"upgrade from an unproven system":    {f(2, 0, 0), f(0, 1, 0), (*Table).UpgradeToInactive, ErrActiveNotGood},
		"cancel from an unproven system":     {f(2, 0, 0), f(1, 0, 1), (*Table).CancelUpgrade, ErrActiveNotGood},
		"roll back to a failed system":       {f(1, 0, 1), f(2, 0, 0), (*Table).RollbackToInactive, ErrNotBootable},
		"roll back to an unprioritised try":  {f(1, 0, 1), f(0, 1, 0), (*Table).RollbackToInactive, ErrNotBootable},
		"roll back to successful, prio zero": {f(1, 0, 1), f(0, 0, 1), (*Table).RollbackToInactive, nil},
		"a slot that is not there":           {f(1, 0, 1), f(0, 0, 0), func(t *Table, _ Slot) error { return t.MarkSuccessful(7) }, ErrUnknownSlot},
		"an active slot that is not there":   {f(1, 0, 1), f(0, 0, 0), func(t *Table, _ Slot) error { return t.ClearInactive(7) }, ErrUnknownSlot},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, test.a, test.b)
			before := d.Writes()
			if err := test.do(open(t, d), A); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if test.want != nil && d.Writes() != before {
				t.Error("a refused call wrote to the disk")
			}
		})
	}
}

func TestNextAndBoot(t *testing.T) {
	tests := []struct {
		a, b         Flags
		next         Slot
		err          error
		aThen, bThen Flags
	}{
		{f(1, 0, 1), f(0, 0, 0), A, nil, f(1, 0, 1), f(0, 0, 0)},
		{f(1, 0, 1), f(1, 0, 1), A, nil, f(1, 0, 1), f(1, 0, 1)}, // A on a tie
		{f(1, 0, 1), f(2, 1, 0), B, nil, f(1, 0, 1), f(2, 0, 0)},
		{f(1, 0, 1), f(2, 0, 0), A, nil, f(1, 0, 1), f(2, 0, 0)},
		{f(1, 3, 1), f(0, 0, 1), A, nil, f(1, 2, 1), f(0, 0, 1)}, // a try is spent by a successful one, too
		{f(15, 15, 0), f(14, 0, 1), A, nil, f(15, 14, 0), f(14, 0, 1)},
		{f(0, 5, 1), f(0, 0, 1), 0, ErrNoBootableSlot, f(0, 5, 1), f(0, 0, 1)}, // priority 0 never boots
		{f(3, 0, 0), f(2, 0, 0), 0, ErrNoBootableSlot, f(3, 0, 0), f(2, 0, 0)},
	}
	for _, test := range tests {
		table := open(t, newDisk(t, test.a, test.b))
		if got, err := table.Next(); got != test.next || !errors.Is(err, test.err) {
			t.Errorf("%+v: next is %v (%v)", test, got, err)
		}
		if got, err := table.Boot(); got != test.next || !errors.Is(err, test.err) {
			t.Errorf("%+v: booted %v (%v)", test, got, err)
		}
		if diff := cmp.Diff([]Flags{test.aThen, test.bThen}, []Flags{table.Flags(A), table.Flags(B)}); diff != "" {
			t.Errorf("%+v: after the boot:\n%s", test, diff)
		}
	}
}

// A boot loader that finds a damaged boot image must go on to the other slot in the same boot, and must
// not mistake a disk it cannot read for a damaged image.
func TestBootIf(t *testing.T) {
	ioError := errors.New("input/output error")
	check := func(a, b error) func(Slot) error { return func(s Slot) error { return []error{a, b}[s] } }
	tests := map[string]struct {
		check        func(Slot) error
		want         Slot
		err          error
		aThen, bThen Flags
	}{
		"both fine":        {check(nil, nil), B, nil, f(1, 0, 1), f(2, 2, 0)},
		"new one damaged":  {check(nil, fmt.Errorf("digest: %w", ErrDamagedImage)), A, nil, f(1, 0, 1), f(2, 0, 0)},
		"new one unread":   {check(nil, ioError), A, nil, f(1, 0, 1), f(2, 3, 0)},
		"nothing readable": {check(ioError, ErrDamagedImage), 0, ioError, f(1, 0, 1), f(2, 3, 0)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, f(1, 0, 1), f(2, 3, 0))
			table := open(t, d)
			got, err := table.BootIf(test.check)
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("booted %v (%v)", got, err)
			}
			if test.err != nil && !errors.Is(err, ErrNoBootableSlot) {
				t.Errorf("error %v does not say that nothing can boot", err)
			}
			if diff := cmp.Diff([]Flags{test.aThen, test.bThen}, []Flags{open(t, d).Flags(A), open(t, d).Flags(B)}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLayouts(t *testing.T) {
	d := fakedisk.New(16 * mib)
	make := func(p []gpt.NewPartition) (*Table, error) {
		t.Helper()
		if _, err := gpt.Create(d, d.Size(), p); err != nil {
			t.Fatal(err)
		}
		return Open(d, d.Size())
	}
	if _, err := make(parts(0)); !errors.Is(err, ErrLayout) {
		t.Errorf("no set: %v", err)
	}
	if _, err := make(parts(2, f(1, 0, 1), Flags{})[1:]); !errors.Is(err, ErrLayout) {
		t.Errorf("a boot partition missing: %v", err)
	}
	single, err := make(parts(1, f(1, 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(Slot) error{
		"clear": single.ClearInactive, "valid": single.MarkInactiveValid, "upgrade": single.UpgradeToInactive,
		"cancel": single.CancelUpgrade, "roll back": single.RollbackToInactive,
	} {
		if err := call(A); !errors.Is(err, ErrSingleSet) {
			t.Errorf("%s on a single set: %v", name, err)
		}
	}
	if err := single.MarkSuccessful(A); err != nil {
		t.Errorf("a single set can be marked: %v", err)
	}
	if s, err := single.Boot(); s != A || err != nil {
		t.Errorf("a single set boots: %v, %v", s, err)
	}
	if len(single.Slots()) != 1 || single.Partition(B, Root) != (gpt.Partition{}) {
		t.Errorf("slots %v", single.Slots())
	}

	// Names do not count, order in the table does.
	p := parts(2, f(1, 0, 1), f(2, 1, 0))
	p[0].Offset, p[4].Offset = p[4].Offset, p[0].Offset
	p[0].Name, p[4].Name = "BOOT-B", "BOOT-A"
	table, err := make(p)
	if err != nil {
		t.Fatal(err)
	}
	for s, uuid := range map[Slot]gpt.GUID{A: guid(1), B: guid(5)} {
		if got, err := table.FindBoot(uuid); got != s || err != nil {
			t.Errorf("boot partition %v is of slot %v (%v), want %v", uuid, got, err, s)
		}
	}
	for _, uuid := range []gpt.GUID{{}, guid(2), guid(99)} {
		if s, err := table.FindBoot(uuid); !errors.Is(err, ErrUnknownSlot) {
			t.Errorf("%v was taken for slot %v", uuid, s)
		}
	}
}

func TestChangesOfOthersAreSeen(t *testing.T) {
	d := newDisk(t, f(1, 0, 1), f(0, 0, 0))
	mine, other := open(t, d), open(t, d)
	if err := other.MarkInactiveValid(A); err != nil {
		t.Fatal(err)
	}
	if err := mine.UpgradeToInactive(A); err != nil {
		t.Errorf("a call must work on what is on the disk now: %v", err)
	}
}

func BenchmarkFlip(b *testing.B) {
	d := newDisk(b, f(1, 0, 1), f(0, 1, 0))
	table := open(b, d)
	for b.Loop() {
		if err := errors.Join(table.UpgradeToInactive(A), table.CancelUpgrade(A)); err != nil {
			b.Fatal(err)
		}
	}
}
