"""Fast starts: images pulled ahead, and placeholder pods that keep room for servers."""
