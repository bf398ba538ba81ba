package reconstruct

import "time"

// RetryAfter sets the pauses between tries to send one image.
func (n *NodeODM) RetryAfter(pauses ...time.Duration) { n.retries = pauses }
