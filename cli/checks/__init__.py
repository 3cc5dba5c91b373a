"""What ``henaw doctor`` looks at."""
