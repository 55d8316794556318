// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/drydock-os/drydock/lab/machine"
)

// Roll opts the nodes in, starts the controller if it is not there yet (see Config.JoinFirst), and follows the fleet until every node is updated or nothing more will
// happen. The error is about the lab; what the roll came to is in the report, also when ctx ended.
func (l *Lab) Roll(ctx context.Context) (*Report, error) {
	limited, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	if err := optIn(limited, l.client, l.nodeNames()); err != nil {
		return nil, err
	}
	var why error
	if l.held > 0 {
		l.display.say("the agents of %d nodes join", l.cfg.Nodes)
		if why = l.follow(limited, l.tracker.joined); why != nil {
			why = fmt.Errorf("not every node was offered %s: %w", l.cfg.To, why)
		}
	}
	if why == nil {
		l.display.say("rolling %d nodes from %s to %s", l.cfg.Nodes, l.cfg.From, l.cfg.To)
		if l.held > 0 {
			if err := scale(limited, l.client, controllerDeployment, l.held); err != nil {
				return nil, err
			}
		}
		why = l.follow(limited, l.tracker.settled)
	}
	now := time.Now()
	l.show(now)
	l.display.finish()

	report := l.tracker.report(&l.cfg, l.began, now)
	if why != nil && report.Reason == "" {
		report.Reason = why.Error()
	} else if why != nil {
		report.Reason = why.Error() + ": " + report.Reason
	}
	if err := l.measure(report, now); err != nil {
		return report, err
	}
	if l.cfg.Simulated != nil && why == nil {
		var err error
		if report.Scale, err = l.observe(ctx); err != nil {
			return report, err
		}
	}
	return report, nil
}

// follow shows the fleet until the condition holds. It returns why it stopped otherwise.
func (l *Lab) follow(ctx context.Context, until func() bool) error {
	clock := time.NewTicker(redrawAtRest)
	defer clock.Stop()
	for {
		l.show(time.Now())
		if until() {
			return nil
		}
		// A burst of changes is one look.
		pause := time.NewTimer(redrawPause)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
		select {
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				return fmt.Errorf("not finished after %v", l.cfg.Timeout)
			}
			return ctx.Err()
		case err := <-l.failed:
			return err
		case <-l.tracker.changed:
		case <-clock.C:
		}
	}
}

// Follow shows the fleet until ctx ends or a part of the lab fails.
func (l *Lab) Follow(ctx context.Context) error {
	if err := l.follow(ctx, func() bool { return false }); ctx.Err() == nil {
		return err
	}
	return nil
}

// measure adds what is measured outside of the watches.
func (l *Lab) measure(r *Report, now time.Time) error {
	first, last := l.tracker.span()
	if last.IsZero() {
		last = now
	}
	var err error
	if !first.IsZero() {
		if r.KubeRequests, err = countRequests(l.plane.AuditLog(), first, last, r.Updated); err != nil {
			return err
		}
	}
	r.RSSBytes, err = memory("VmRSS:")
	return err
}

// machineEvent passes what a host did to the tracker, and what a person should know to the display.
func (l *Lab) machineEvent(e machine.Event) {
	l.tracker.machineEvent(e)
	if l.running.Err() != nil {
		return // what ends because the lab does is no news
	}
	switch e.Kind {
	case machine.SlotRefused:
		l.display.say("%s: the boot loader passed over slot %v: %s", e.Host, e.Boot.Slot, e.Reason)
	case machine.DaemonEnded:
		l.display.say("%s: the host daemon ended: %s", e.Host, e.Reason)
	case machine.CommandFinished:
		if e.Status == "Failed" {
			l.display.say("%s: %s failed: %s", e.Host, e.Command, e.Reason)
		}
	}
}
