// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package updog is the command line of the update client: what people type on a host when they want an update now, or
// want it back out.
//
// Its commands, flags, output and exit codes (0 done, 1 for everything else) are those of the original. The work is
// done by the update engine under its lock, so that the host daemon and a person do not write one slot together, with
// the same promise: at every instant a good slot can boot. Changing which slot boots next needs no network.
package updog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/engine"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/slot"
)

// Config holds the surroundings of one call.
type Config struct{ Stdout, Stderr io.Writer }

// Usage is the help text.
const Usage = `updog: look for, write and activate updates of this host

  updog check-update [-a]      show the update that would be applied, or with -a all that could be (also: whats)
  updog prepare                see that the repository can be read
  updog update [-i V] [-r]     write the update, make it the next to boot, reboot with -r
  updog update-image [-i V]    write the update only
  updog update-apply [-r]      make what was written the next to boot
  updog update-revert          take back update-apply

  -a, --all              all updates that this host could move to
  -i, --image VERSION    exactly this version, without a leading v
  -n, --now              do not wait for the turn of this host (also: --ignore-waves)
  -r, --reboot           reboot afterwards
  -j, --json             print JSON
      --variant NAME     move to another variant
      --log-level LEVEL  trace, debug, info, warn (default) or error
      --disk FILE        the system disk (default: the one that holds the booted partition)
      --root DIR         folder below which the files of the host are (default: $DRYDOCK_ROOT, or /)
      --reboot-program P called with 'reboot --check-inhibitors=yes' (default /usr/bin/systemctl)
  -h, --help             show this

Exit codes: 0 done, 1 failed, no update found by check-update, or the command line is wrong.
`

// errNoUpdate means that check-update found nothing. It is told without the usual prefix.
var errNoUpdate = errors.New("No update available") //nolint:staticcheck // scripts look for this text

// call is one command line.
type call struct {
	Config
	command           string
	all, reboot, json bool
	wish              engine.Wish
	disk, root        string
	rebootProgram     string
	level             slog.Level
}

// Words lists the commands.
func Words() []string {
	return []string{"check-update", "prepare", "update", "update-apply", "update-image", "update-revert", "whats"}
}

// Run carries out one command line, without the program's name, and returns the exit code.
func Run(ctx context.Context, cfg Config, args []string) int {
	c := &call{Config: cfg, root: rootdir.Default(), rebootProgram: "/usr/bin/systemctl", level: slog.LevelWarn}
	err := c.parse(args)
	switch {
	case errors.Is(err, errHelp):
		fmt.Fprint(cfg.Stderr, Usage)
		return cli.ExitOK
	case err != nil:
		cli.PrintError(cfg.Stderr, "updog", err)
		fmt.Fprint(cfg.Stderr, "\n"+Usage)
		return cli.ExitFailure // unlike our other programs
	}
	err = c.run(ctx)
	if errors.Is(err, errNoUpdate) {
		fmt.Fprintln(cfg.Stderr, err)
		return cli.ExitFailure
	}
	return cli.PrintError(cfg.Stderr, "updog", hint(err))
}

var errHelp = errors.New("help")

func (c *call) parse(args []string) error {
	values := map[string]func(string) error{
		"--image":          func(s string) (err error) { c.wish.Version, err = version(s); return err },
		"--variant":        func(s string) error { c.wish.Variant = s; return nil },
		"--disk":           func(s string) error { c.disk = s; return nil },
		"--root":           func(s string) error { c.root = s; return nil },
		"--reboot-program": func(s string) error { c.rebootProgram = s; return nil },
		"--log-level":      c.setLevel,
	}
	values["-i"] = values["--image"]
	switches := map[string]*bool{
		"-a": &c.all, "--all": &c.all, "-r": &c.reboot, "--reboot": &c.reboot, "-j": &c.json, "--json": &c.json,
		"-n": &c.wish.IgnoreWaves, "--now": &c.wish.IgnoreWaves, "--ignore-waves": &c.wish.IgnoreWaves,
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, value, inline := strings.Cut(arg, "=")
		switch {
		case arg == "-h" || arg == "--help":
			return errHelp
		case switches[arg] != nil:
			*switches[arg] = true
		case values[name] != nil:
			if !inline {
				if i++; i == len(args) {
					return cli.Usagef("%s needs a value", name)
				}
				value = args[i]
			}
			if err := values[name](value); err != nil {
				return cli.Usagef("%s: %w", name, err)
			}
		case strings.HasPrefix(arg, "-") || c.command != "":
			return cli.Usagef("unexpected argument %q", arg)
		default:
			c.command = arg
		}
	}
	if !slices.Contains(Words(), c.command) {
		return cli.Usagef("no command %q", c.command)
	}
	return nil
}

func version(s string) (*semver.Version, error) { return manifest.ParseVersion(s) }

func (c *call) setLevel(s string) error {
	if strings.EqualFold(s, "trace") {
		s = "debug"
	}
	return c.level.UnmarshalText([]byte(s))
}

// run opens the host and does what was asked for.
func (c *call) run(ctx context.Context) error {
	if c.disk == "" {
		boot, err := system.BootUUID(c.root)
		if err != nil {
			return err
		}
		if c.disk, err = system.FindDisk(c.root, boot); err != nil {
			return err
		}
	}
	disk := system.NewDisk(c.disk)
	identity, err := system.Identify(c.root, disk)
	if err != nil {
		return err
	}
	e, err := engine.New(engine.Config{
		Root: c.root, System: identity, Disk: disk,
		Log: slog.New(slog.NewTextHandler(c.Stderr, &slog.HandlerOptions{Level: c.level})),
	})
	if err != nil {
		return err
	}
	switch c.command {
	case "check-update", "whats":
		return c.check(ctx, e)
	case "prepare":
		_, _, err := e.Look(ctx, c.wish)
		return err
	case "update", "update-image":
		return c.update(ctx, e)
	case "update-apply":
		if err := e.Apply(); err != nil {
			return err
		}
		return c.restart(ctx)
	}
	return e.Revert()
}

func (c *call) check(ctx context.Context, e *engine.Engine) error {
	all, chosen, err := e.Look(ctx, c.wish)
	switch {
	case err != nil:
		return err
	case c.all && c.json:
		return c.print(append([]manifest.Update{}, all...)) // never null
	case c.all:
		for _, u := range all {
			fmt.Fprintf(c.Stderr, "%s %v\n", u.Variant, u.Version)
		}
		return nil
	case chosen == nil:
		return errNoUpdate
	case c.json:
		return c.print(chosen)
	}
	_, err = fmt.Fprintf(c.Stdout, "%s %v\n", chosen.Variant, chosen.Version)
	return err
}

func (c *call) print(v any) error {
	e := json.NewEncoder(c.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (c *call) update(ctx context.Context, e *engine.Engine) error {
	_, chosen, err := e.Look(ctx, c.wish)
	if err != nil {
		return err
	}
	if chosen == nil {
		fmt.Fprintln(c.Stderr, "No update required")
		return nil
	}
	fmt.Fprintf(c.Stderr, "Starting update to %v\n", chosen.Version)
	image := hostapi.Image{Arch: chosen.Arch, Version: chosen.Version.String(), Variant: chosen.Variant}
	do := e.Write
	if c.command == "update" {
		do = e.Update
	}
	if err := do(ctx, image, c.wish); err != nil {
		return err
	}
	if c.json {
		err = c.print(chosen)
	} else {
		_, err = fmt.Fprintf(c.Stdout, "Update applied: %s %v\n", chosen.Variant, chosen.Version)
	}
	if err != nil || c.command != "update" {
		return err
	}
	return c.restart(ctx)
}

// rebootTimeout bounds how long the init system may take to say yes or no.
const rebootTimeout = 90 * time.Second

// restart reboots if that was asked for.
func (c *call) restart(ctx context.Context) error {
	if !c.reboot {
		return nil
	}
	// The reboot ends this program too; it must not take that for a failure, so only the time limit counts.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rebootTimeout)
	defer cancel()
	if out, err := exec.CommandContext(ctx, c.rebootProgram, "reboot", "--check-inhibitors=yes").CombinedOutput(); err != nil {
		return fmt.Errorf("rebooting: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// hint adds what to try next.
func hint(err error) error {
	switch {
	case errors.Is(err, system.ErrNoBootSlot):
		return cli.WithHint(err, "the boot loader must name the booted boot partition; on another machine give --root")
	case errors.Is(err, system.ErrNoDisk):
		return cli.WithHint(err, "name the system disk with --disk")
	case errors.Is(err, engine.ErrBusy):
		return cli.WithHint(err, "the host daemon runs an update command; wait for its end")
	case errors.Is(err, slot.ErrAlreadyMarked), errors.Is(err, slot.ErrNotValid):
		return cli.WithHint(err, "write an update first, with 'updog update-image'")
	case errors.Is(err, slot.ErrActiveNotGood):
		return cli.WithHint(err, "wait until the running system has passed its health checks")
	}
	return err
}
