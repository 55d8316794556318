// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// report lists the reports that this host can make.
func report(ctx context.Context, a *app, args []string) error {
	if len(args) != 1 || args[0] != "list" {
		return cli.WithHint(cli.Usagef("report: want list"), "which reports a host can make is told by 'apiclient report list'")
	}
	reply, err := a.request(ctx, http.MethodGet, hostapi.PathReport, nil)
	if err != nil {
		return err
	}
	var reports []hostapi.Report
	if err := json.Unmarshal(reply, &reports); err != nil {
		return fmt.Errorf("reading the reply to GET %s: %w", hostapi.PathReport, err)
	}
	if len(reports) == 0 {
		a.say("This host has no reports")
	}
	for _, r := range reports {
		if _, err := fmt.Fprintf(a.Stdout, "%s\t%s\n", r.Name, r.Description); err != nil {
			return err
		}
	}
	return nil
}
