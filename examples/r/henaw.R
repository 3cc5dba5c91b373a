# HENAW in R: the ONNX file by reticulate with Python's onnxruntime and numpy.
library(reticulate)

open_henaw <- function(path) import("onnxruntime", convert = FALSE)$InferenceSession(path)

# All outputs of n people, as vectors and matrices with one row per person.
#
# biomarkers: matrix with one row per person: CRP mg/L, HbA1c mmol/mol, creatinine umol/L,
#   albumin g/L, lymphocytes %, RDW %, GGT U/L, AST U/L, ALT U/L; NA where a test was not done.
# age: years. sex: 0 female, 1 male.
ask_henaw <- function(session, biomarkers, age, sex) {
  np <- import("numpy", convert = FALSE)
  # By their bytes: R has neither float32 nor int64.
  to_array <- function(values, size) {
    np$frombuffer(writeBin(as.double(values), raw(), size), dtype = paste0("f", size))
  }
  feeds <- dict(
    biomarkers = to_array(t(biomarkers), 4)$reshape(dim(biomarkers)),
    age = to_array(age, 4),
    sex = to_array(sex, 8)$astype("int64")
  )
  names <- unlist(iterate(session$get_outputs(), function(output) py_to_r(output$name)))
  answers <- iterate(session$run(names, feeds), function(answer) {
    values <- unlist(py_to_r(answer$ravel()$tolist()))
    if (length(values) == length(age)) values else matrix(values, length(age), byrow = TRUE)
  })
  setNames(answers, names)
}
