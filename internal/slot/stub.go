// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package slot

import (
	"errors"

	"github.com/drydock-os/drydock/internal/gpt"
)

type Flags struct {
	Priority, Tries uint8
	Successful      bool
}
type Table struct{}

func Open(d gpt.Disk, size int64) (*Table, error)            { return nil, errors.ErrUnsupported }
func (t *Table) Flags(s Slot) Flags                          { return Flags{} }
func (t *Table) Partition(s Slot, p Part) gpt.Partition      { return gpt.Partition{} }
func (t *Table) FindBoot(uuid gpt.GUID) (Slot, error)        { return 0, errors.ErrUnsupported }
func (t *Table) Next() (Slot, error)                         { return 0, errors.ErrUnsupported }
func (t *Table) Boot() (Slot, error)                         { return 0, errors.ErrUnsupported }
func (t *Table) BootIf(check func(Slot) error) (Slot, error) { return 0, errors.ErrUnsupported }
func (t *Table) ClearInactive(active Slot) error             { return errors.ErrUnsupported }
func (t *Table) MarkInactiveValid(active Slot) error         { return errors.ErrUnsupported }
func (t *Table) UpgradeToInactive(active Slot) error         { return errors.ErrUnsupported }
func (t *Table) CancelUpgrade(active Slot) error             { return errors.ErrUnsupported }
func (t *Table) RollbackToInactive(active Slot) error        { return errors.ErrUnsupported }
func (t *Table) MarkSuccessful(active Slot) error            { return errors.ErrUnsupported }
func (t *Table) HasEverSucceeded() bool                      { return false }
