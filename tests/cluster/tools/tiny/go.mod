module shipway.local/bed/tiny

go 1.24.0
