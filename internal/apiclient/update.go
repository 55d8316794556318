// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// action is an update command and how long its outcome is waited for. The limits are those of the original client.
type action struct {
	path     string
	command  hostapi.Command
	interval time.Duration
	limit    int // tries
}

var (
	refreshAction    = action{hostapi.PathRefreshUpdates, hostapi.CommandRefresh, 100 * time.Millisecond, 100}
	prepareAction    = action{hostapi.PathPrepareUpdate, hostapi.CommandPrepare, 500 * time.Millisecond, 1200}
	activateAction   = action{hostapi.PathActivateUpdate, hostapi.CommandActivate, 100 * time.Millisecond, 50}
	deactivateAction = action{hostapi.PathDeactivateUpdate, hostapi.CommandDeactivate, 100 * time.Millisecond, 50}
)

const (
	maxFailures   = 5               // answers that say neither busy nor done
	stillWaiting  = 5 * time.Second // between two words about it
	noUpdateKnown = "this host knows of no update; run 'apiclient update check'"
	notNow        = "run 'apiclient update check' first; an update that is applied already makes way with 'apiclient update cancel'"

	noBlockedKnown = "what is blocked is in blocked_updates of 'apiclient raw -u " + hostapi.PathUpdateStatus + "'"
)

// update looks for, applies or cancels an update, or lets a version be tried again.
func update(ctx context.Context, a *app, args []string) error {
	if len(args) == 0 {
		return cli.Usagef("update: want check, apply, cancel or unblock")
	}
	if args[0] == "unblock" {
		return a.unblock(ctx, args[1:])
	}
	check, restart := false, false
	for _, arg := range args[1:] {
		switch {
		case args[0] == "apply" && (arg == "-c" || arg == "--check"):
			check = true
		case args[0] == "apply" && (arg == "-r" || arg == "--reboot"):
			restart = true
		default:
			return cli.Usagef("update %s: unexpected argument %q", args[0], arg)
		}
	}
	switch args[0] {
	case "check":
		_, err := a.check(ctx)
		return err
	case "apply":
		return a.applyUpdate(ctx, check, restart)
	case "cancel":
		if _, err := a.act(ctx, deactivateAction); err != nil {
			return err
		}
		a.say("The update stays on the disk, but the next boot is into the running version")
		return nil
	}
	return cli.Usagef("update: no command %q: want check, apply, cancel or unblock", args[0])
}

// check refreshes and prints the status.
func (a *app) check(ctx context.Context) (*hostapi.UpdateStatus, error) {
	reply, err := a.act(ctx, refreshAction)
	if err != nil {
		return nil, err
	}
	s := &hostapi.UpdateStatus{}
	if err := json.Unmarshal(reply, s); err != nil {
		return nil, fmt.Errorf("reading the update status: %w", err)
	}
	v, err := decode(reply) // printed whole, with keys that this program does not know
	if err != nil {
		return nil, fmt.Errorf("reading the update status: %w", err)
	}
	return s, a.print(v)
}

func (a *app) applyUpdate(ctx context.Context, check, restart bool) error {
	if check {
		s, err := a.check(ctx)
		if err != nil {
			return err
		}
		switch s.UpdateState {
		case hostapi.StateIdle:
			a.say("No updates available")
			return nil
		case hostapi.StateReady:
			a.say("The update is applied already; reboot to use it")
			return nil
		}
	}
	a.say("Downloading and writing the update")
	if _, err := a.act(ctx, prepareAction); err != nil {
		switch {
		case hasCode(err, http.StatusNotFound):
			err = cli.WithHint(err, noUpdateKnown)
		case hasCode(err, http.StatusConflict) && !strings.Contains(err.Error(), "update unblock"): // that says itself what to do
			err = cli.WithHint(err, notNow)
		}
		return err
	}
	if _, err := a.act(ctx, activateAction); err != nil {
		return err
	}
	if restart {
		return reboot(ctx, a, nil)
	}
	a.say("The update is applied, and takes effect with the next reboot")
	return nil
}

// unblock lets a version be tried again that fell back on this host.
func (a *app) unblock(ctx context.Context, args []string) error {
	if len(args) != 1 || args[0] == "" || strings.HasPrefix(args[0], "-") {
		return cli.Usagef("update unblock: want one version")
	}
	version := strings.TrimPrefix(args[0], "v")
	uri := hostapi.PathUnblockUpdate + "?" + url.Values{hostapi.VersionParam: {version}}.Encode()
	if _, err := a.request(ctx, http.MethodPost, uri, nil); err != nil {
		if hasCode(err, http.StatusNotFound) {
			err = cli.WithHint(err, noBlockedKnown)
		}
		return err
	}
	a.say("Version %s may be chosen again: run 'apiclient update check'", version)
	return nil
}

// act starts an update command and waits for its outcome. It returns the status then.
func (a *app) act(ctx context.Context, do action) ([]byte, error) {
	before := ""
	reply, err := a.request(ctx, http.MethodGet, hostapi.PathUpdateStatus, nil)
	switch {
	case hasCode(err, http.StatusNotFound): // nothing has run since boot
	case err != nil:
		return nil, err
	default:
		if r := result(reply); r != nil {
			before = r.Timestamp
		}
	}
	if _, err := a.request(ctx, http.MethodPost, do.path, nil); err != nil {
		return nil, err
	}
	return a.outcome(ctx, do, before)
}

// result returns the most recent command of a status, or nil.
func result(status []byte) *hostapi.CommandResult {
	s := hostapi.UpdateStatus{}
	if json.Unmarshal(status, &s) != nil {
		return nil
	}
	return s.MostRecentCommand
}

// outcome waits for the end of a command that was started: until its name is in the status with another timestamp than
// before. Our server answers when the command ends; others answer at once that they are busy and are asked again.
func (a *app) outcome(ctx context.Context, do action, before string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(do.limit)*do.interval,
		fmt.Errorf("%s is not done after %v", do.command, time.Duration(do.limit)*do.interval))
	defer cancel()
	uri := hostapi.PathUpdateStatus + "?" + hostapi.WaitParam + "=" + do.interval.String()
	failures, told := 0, time.Now()
	tick := time.NewTicker(do.interval)
	defer tick.Stop()
	for try := 1; try < do.limit; try++ {
		reply, err := a.request(ctx, http.MethodGet, uri, nil)
		switch {
		case err == nil:
			if r := result(reply); r != nil && r.Type == do.command && r.Timestamp != before {
				if r.Status != hostapi.StatusSuccess {
					return nil, fmt.Errorf("%s ended with %s, exit code %d: %s", do.command, r.Status, r.ExitStatus, r.Stderr)
				}
				return reply, nil
			}
		case hasCode(err, http.StatusLocked):
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		default:
			if failures++; failures >= maxFailures {
				return nil, err
			}
		}
		if time.Since(told) >= stillWaiting {
			a.say("Still waiting for %s to end", do.command)
			told = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil, errors.New(string(do.command) + " is not done: giving up")
}
