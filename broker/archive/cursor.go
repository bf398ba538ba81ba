package archive

import (
	"io"
	"sort"
)

// cursor goes through the files of a layout.
type cursor struct {
	l       *layout
	in      fields
	item    item
	index   int   // of item
	local   int64 // where its header begins
	central int64 // where its record begins, from the directory's beginning
	next    *item // read ahead
}

// at stands at the file whose part covers an offset: of the files with their
// headers, or of the directory's records.
func (l *layout) at(offset int64, directory bool) (*cursor, error) {
	begin := func(m mark) int64 {
		if directory {
			return m.central
		}
		return m.local
	}
	i := sort.Search(len(l.marks), func(i int) bool { return begin(l.marks[i]) > offset }) - 1
	if i < 0 {
		return nil, io.EOF
	}
	m := l.marks[i]
	c := &cursor{l: l, in: fields{r: l.items.from(m.spooled)}, index: i * markEvery, local: m.local, central: m.central}
	if err := c.read(&c.item); err != nil {
		return nil, err
	}
	for {
		end := c.end()
		if directory {
			end = c.centralEnd()
		}
		if offset < end {
			return c, nil
		}
		if err := c.advance(); err != nil {
			return nil, err
		}
	}
}

// end is where the present file ends.
func (c *cursor) end() int64 { return c.data() + c.item.size }

// data is where its bytes begin.
func (c *cursor) data() int64 { return c.local + c.item.localBytes() }

// centralEnd is where its record ends.
func (c *cursor) centralEnd() int64 { return c.central + c.item.centralBytes(c.local) }

// advance goes to the next file; io.EOF behind the last.
func (c *cursor) advance() error {
	next, err := c.peek()
	if err != nil {
		return err
	}
	local, central := c.end(), c.centralEnd()
	c.item, c.next = *next, nil
	c.local, c.central = local, central
	c.index++
	return nil
}

// peek gives the file behind the present one; io.EOF behind the last.
func (c *cursor) peek() (*item, error) {
	if c.next != nil {
		return c.next, nil
	}
	if c.index+1 >= c.l.entries {
		return nil, io.EOF
	}
	next := &item{}
	if err := c.read(next); err != nil {
		return nil, err
	}
	c.next = next
	return next, nil
}

func (c *cursor) read(it *item) error {
	it.name = c.in.text()
	c.l.readItem(&c.in, it)
	return c.in.err
}
