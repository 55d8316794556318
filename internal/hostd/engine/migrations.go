// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/migrate"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/tuf"
)

// saveMigrations keeps what the new system needs to take over the settings of this one, and this one to take them back:
// both boot before there is a network. An update that no migrations lead to is refused, for it could not boot.
func (e *Engine) saveMigrations(ctx context.Context, o *offered, chosen hostapi.Image) error {
	to, err := semver.StrictNewVersion(chosen.Version)
	if err != nil {
		return fmt.Errorf("update %s: %w", chosen.Version, err)
	}
	names, err := o.manifest.Path(e.cfg.System.Version, to)
	if err != nil {
		return fmt.Errorf("update %s: migrations of settings: %w", chosen.Version, err)
	}
	names = append(names, manifest.TargetName)
	o.client.SetQuery("migrations", strings.Join(names, ","))
	if err := o.client.Save(ctx, tuf.Folders{Metadata: e.path(migrate.MetadataDir), Targets: e.path(migrate.TargetsDir)}, names); err != nil {
		return fmt.Errorf("update %s: migrations of settings: %w", chosen.Version, err)
	}
	return nil
}
