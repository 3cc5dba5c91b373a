# One person's biological age: Rscript examples/r/embed.R build/exported/henaw.onnx
folder <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
source(file.path(folder, "henaw.R"))

session <- open_henaw(commandArgs(trailingOnly = TRUE)[1])
values <- c(1.2, 35.5, 79.6, 45, 29, 13.1, NA, 24, 20)
answer <- ask_henaw(session, t(values), age = 54, sex = 0)
# The model always computes numbers. Show them only where reliable is true.
if (answer$reliable) {
  cat(sprintf(
    "biological age %.1f (%.1f to %.1f) years\n",
    answer$biological_age, answer$interval[1, 1], answer$interval[1, 2]
  ))
} else {
  cat("no reliable answer: show no number, see docs/embedding.md\n")
}
