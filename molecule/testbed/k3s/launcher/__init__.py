"""A launcher in the shape of K3s around Kubernetes as Debian packages it."""
