"""Search by what encoders make of texts: one vector, many vectors, or weighted terms."""
