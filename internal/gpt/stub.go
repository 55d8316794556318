// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package gpt

import "errors"

type Table struct {
	Disk       GUID
	SectorSize int64
	Recovered  bool
}
type NewPartition struct {
	Type, UUID GUID
	Name       string
	Offset     int64
	Size       int64
	Attributes uint64
}
type Option func(*struct{})
type File struct{}

func Read(d Disk, size int64) (*Table, error) { return nil, errors.ErrUnsupported }
func (t *Table) Write(d Disk) error           { return errors.ErrUnsupported }
func Create(d Disk, size int64, parts []NewPartition, opts ...Option) (*Table, error) {
	return nil, errors.ErrUnsupported
}
func (t *Table) Partitions() []Partition                           { return nil }
func (t *Table) SetAttributes(number int, attributes uint64) error { return errors.ErrUnsupported }
func OpenFile(path string, write bool) (*File, error)              { return nil, errors.ErrUnsupported }
func (f *File) ReadAt(p []byte, off int64) (int, error)            { return 0, errors.ErrUnsupported }
func (f *File) WriteAt(p []byte, off int64) (int, error)           { return 0, errors.ErrUnsupported }
func (f *File) Sync() error                                        { return errors.ErrUnsupported }
func (f *File) Close() error                                       { return errors.ErrUnsupported }
func (f *File) Size() int64                                        { return 0 }
