.set LEVELS, 5
.include "paging64.S"
