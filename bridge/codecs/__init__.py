"""One codec a protocol: values in, requests out; answers in, values out. No socket, no clock."""
