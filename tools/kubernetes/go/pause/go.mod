module elastic-farm/pause

go 1.26.0
