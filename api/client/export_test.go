package client

import "time"

// HurryRetries shortens the pauses between tries.
func HurryRetries(c *Client) { c.pauses = pauses{first: time.Millisecond, max: 10 * time.Millisecond} }
