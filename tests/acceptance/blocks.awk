# Takes the blocks of one section out of a document, in order: `NUMBER ATTRIBUTES` per block to standard output, each block's
# text to a file named by its number. awk -v section=Install -v out=DIR -f blocks.awk guide.md
/^## / { here = (substr($0, 4) == section); next }
!here { next }
/^```/ {
  if (inside) { close(file); inside = 0; next }
  inside = 1
  file = sprintf("%s/%02d", out, ++count)
  printf "" > file
  print sprintf("%02d", count), substr($0, 4)
  next
}
inside { print > file }
