// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package signpost is the command line of the two system slots: which one runs, which one boots next, and what to
// change about that.
//
// Scripts and runbooks depend on its commands, its output and its exit codes (0 done, 1 for everything else), so they
// are those of the original. Each command that changes something leaves a disk from which a good slot boots, also when
// the power is cut in the middle of it; package slot promises that.
package signpost

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/slot"
)

// Config holds the surroundings of one call.
type Config struct{ Stdout, Stderr io.Writer }

// Usage is the help text.
const Usage = `signpost: the two system slots of this host

  signpost status                    show both slots, which one runs, and which one boots next
  signpost clear-inactive            take all boot flags from the other slot, before it is written
  signpost mark-inactive-valid       say that the other slot holds a whole, verified system
  signpost upgrade-to-inactive       boot the other slot next, after mark-inactive-valid
  signpost cancel-upgrade            take back upgrade-to-inactive
  signpost rollback-to-inactive      boot the other slot next, if it can
  signpost mark-successful-boot      say that the running system has proved itself
  signpost has-boot-ever-succeeded   print true if any system on this disk ever has
  signpost rewrite-table             write the partition table back, which repairs a damaged copy

  --disk FILE|DEVICE   the system disk (default: the one that holds the booted partition)
  --root DIR           folder below which the files of the host are (default: $DRYDOCK_ROOT, or /)
  -h, --help           show this

Exit codes: 0 done, 1 failed or the command line is wrong.
`

// changes are the commands that change the disk as seen from the running slot.
var changes = map[string]func(*slot.Table, slot.Slot) error{
	"clear-inactive":       (*slot.Table).ClearInactive,
	"mark-inactive-valid":  (*slot.Table).MarkInactiveValid,
	"upgrade-to-inactive":  (*slot.Table).UpgradeToInactive,
	"cancel-upgrade":       (*slot.Table).CancelUpgrade,
	"rollback-to-inactive": (*slot.Table).RollbackToInactive,
	"mark-successful-boot": (*slot.Table).MarkSuccessful,
	"rewrite-table":        func(t *slot.Table, _ slot.Slot) error { return t.Rewrite() },
}

// Words lists the commands, sorted.
func Words() []string {
	return slices.Sorted(slices.Values(slices.AppendSeq([]string{"status", "has-boot-ever-succeeded"}, maps.Keys(changes))))
}

// Run carries out one command line, without the program's name, and returns the exit code.
func Run(cfg Config, args []string) int {
	err := run(cfg, args)
	if err == nil {
		return cli.ExitOK
	}
	cli.PrintError(cfg.Stderr, "signpost", hint(err))
	if cli.ExitCode(err) == cli.ExitUsage {
		fmt.Fprint(cfg.Stderr, "\n"+Usage)
	}
	return cli.ExitFailure // usage too, unlike our other programs
}

func run(cfg Config, args []string) error {
	var disk, command string
	root := rootdir.Default()
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, value, inline := strings.Cut(arg, "=")
		switch {
		case arg == "-h" || arg == "--help":
			_, err := io.WriteString(cfg.Stderr, Usage)
			return err
		case name == "--disk" || name == "--root":
			if !inline {
				if i++; i == len(args) {
					return cli.Usagef("%s needs a value", name)
				}
				value = args[i]
			}
			if name == "--disk" {
				disk = value
			} else {
				root = value
			}
		case strings.HasPrefix(arg, "-") || command != "":
			return cli.Usagef("unexpected argument %q", arg)
		default:
			command = arg
		}
	}
	change := changes[command]
	if !slices.Contains(Words(), command) {
		return cli.Usagef("no command %q", command)
	}
	boot, err := system.BootUUID(root)
	if err != nil {
		return err
	}
	if disk == "" {
		if disk, err = system.FindDisk(root, boot); err != nil {
			return err
		}
	}
	d := system.NewDisk(disk)
	switch command {
	case "status":
		return d.View(func(_ *gpt.File, t *slot.Table) error { return status(cfg.Stdout, disk, t, boot) })
	case "has-boot-ever-succeeded":
		return d.View(func(_ *gpt.File, t *slot.Table) error {
			if t.HasEverSucceeded() {
				_, err := fmt.Fprintln(cfg.Stdout, "true")
				return err
			}
			return nil
		})
	}
	return d.Change(func(_ *gpt.File, t *slot.Table) error {
		active, err := t.FindBoot(boot)
		if err != nil {
			return err
		}
		return change(t, active)
	})
}

// status prints what scripts read.
func status(w io.Writer, disk string, t *slot.Table, boot gpt.GUID) error {
	active, err := t.FindBoot(boot)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "OS disk: %s\n", disk)
	for _, s := range t.Slots() {
		f := t.Flags(s)
		fmt.Fprintf(&b, "Set %v:   boot=%s root=%s hash=%s priority=%d tries_left=%d successful=%t\n", s,
			device(disk, t.Partition(s, slot.Boot)), device(disk, t.Partition(s, slot.Root)), device(disk, t.Partition(s, slot.Hash)),
			f.Priority, f.Tries, f.Successful)
	}
	fmt.Fprintf(&b, "Active:  Set %v\n", active)
	if next, ok := next(t); ok {
		fmt.Fprintf(&b, "Next:    Set %v\n", next)
	} else {
		b.WriteString("Next:    None\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// device is the name that the kernel gives to a partition.
func device(disk string, p gpt.Partition) string {
	separator := ""
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		separator = "p"
	}
	return fmt.Sprintf("%s%s%d", disk, separator, p.Number)
}

// next is the slot that the original calls next. It differs from the boot loader's choice in one case, a successful
// slot of priority zero, which it counts in.
func next(t *slot.Table) (slot.Slot, bool) {
	var best slot.Slot
	found := false
	for _, s := range t.Slots() {
		if f := t.Flags(s); f.WillBoot() && (!found || f.Priority > t.Flags(best).Priority) {
			best, found = s, true
		}
	}
	return best, found
}

// hint adds what to try next.
func hint(err error) error {
	switch {
	case errors.Is(err, system.ErrNoBootSlot):
		return cli.WithHint(err, "the boot loader must name the booted boot partition; on another machine give --root")
	case errors.Is(err, system.ErrNoDisk):
		return cli.WithHint(err, "name the system disk with --disk")
	case errors.Is(err, slot.ErrAlreadyMarked):
		return cli.WithHint(err, "it holds a system that was activated or has run; 'signpost clear-inactive' gives it up")
	case errors.Is(err, slot.ErrNotValid):
		return cli.WithHint(err, "write an update first, with 'apiclient update apply' or 'updog update-image'")
	case errors.Is(err, slot.ErrNotBootable):
		return cli.WithHint(err, "the other slot holds no system that has proved itself; 'signpost status' shows both")
	case errors.Is(err, slot.ErrActiveNotGood):
		return cli.WithHint(err, "wait until the running system has passed its health checks")
	}
	return err
}
