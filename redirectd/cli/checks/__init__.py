"""What `redirectd check` looks at: small functions, each giving findings and raising nothing."""
